package schema

import "strings"

// Diagnostic is one fault of a description.
type Diagnostic struct {
	Code    string   `json:"code"`           // such as "unknown-field"
	Path    string   `json:"path,omitempty"` // where in the description, such as hosts."mail.example.org".users.alice
	Message string   `json:"message"`        // what is wrong
	Pos     Pos      `json:"pos"`
	Hint    string   `json:"hint,omitempty"` // what to do
	Excerpt *Excerpt `json:"excerpt,omitempty"`
}

// Excerpt is the line of the source that a Diagnostic is about.
type Excerpt struct {
	Line   string `json:"line"`   // the text of line Pos.Line, tabs widened
	Start  int    `json:"start"`  // column of the first marked character in Line, from 0
	Length int    `json:"length"` // number of marked characters, at least 1
}

// Diagnostics are the faults of a description, sorted by position.
type Diagnostics []Diagnostic

// Error is Text with at most 20 faults.
func (d Diagnostics) Error() string { return d.Text(20) }

// Text renders at most limit faults and counts the rest; 0 renders all.
func (d Diagnostics) Text(limit int) string {
	var b strings.Builder
	for _, x := range d {
		b.WriteString("error[" + x.Code + "]: " + x.Message + "\n")
	}
	return b.String()
}

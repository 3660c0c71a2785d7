package schema

import (
	"cmp"
	"slices"
)

// Diagnostic is one fault of a description.
type Diagnostic struct {
	Code    string   `json:"code"`           // one of the Code constants
	Path    string   `json:"path,omitempty"` // where in the description, such as hosts."mail.example.org".users.alice
	Message string   `json:"message"`        // what is wrong
	Pos     Pos      `json:"pos"`
	Hint    string   `json:"hint,omitempty"` // what to do
	Excerpt *Excerpt `json:"excerpt,omitempty"`
}

// The kinds of faults.
const (
	CodeInput        = "input"         // a file that cannot be read, or an argument that names nothing
	CodePackage      = "package"       // files of one directory that are no one package
	CodeSyntax       = "syntax"        // not CUE, JSON or YAML
	CodeImport       = "import"        // a package that is not in the module
	CodeTag          = "tag"           // a tag that the description does not ask for
	CodeCUE          = "cue"           // anything else that CUE cannot evaluate
	CodeConflict     = "conflict"      // one field with two values
	CodeIncomplete   = "incomplete"    // a value that is not definite
	CodeUnknownField = "unknown-field" // a field that the schema does not have
	CodeMissing      = "missing"       // a field that is required, or a part that cannot be done without
	CodeType         = "type"          // a value of another type
	CodeValue        = "value"         // a value that is not allowed there
	CodeName         = "name"          // a name of the operator's choice that is not allowed there
	CodeReference    = "reference"     // the name of something that does not exist, or something that nothing names
	CodeDuplicate    = "duplicate"     // two that want the same
	CodeUnsafe       = "unsafe"        // allowed by its form, but a danger
	CodeLimit        = "limit"         // larger or slower than a description can be
	CodeInternal     = "internal"      // a fault of Mailstead's own
)

// Excerpt is the line of the source that a Diagnostic is about.
type Excerpt struct {
	Line   string `json:"line"`   // the text of line Pos.Line, with secrets masked; cut if it is long
	Start  int    `json:"start"`  // the first marked character in Line, from 0
	Length int    `json:"length"` // the number of marked characters, at least 1
}

// Diagnostics are the faults of a description, sorted by position and each
// there once.
type Diagnostics []Diagnostic

// report sorts the faults, drops those that say the same and adds the excerpts.
func (l *loader) report() Diagnostics {
	slices.SortStableFunc(l.faults, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	list := slices.CompactFunc(l.faults, func(a, b Diagnostic) bool {
		return a.Pos == b.Pos && a.Path == b.Path && a.Message == b.Message
	})
	x := excerpter{inputs: l.inputs}
	for i := range min(len(list), maxExcerpts) {
		list[i].Excerpt = x.excerpt(list[i].Pos, l.isSecretText(list[i].Path))
	}
	return list
}

// maxExcerpts bounds the work for a description with thousands of faults.
const maxExcerpts = 1000

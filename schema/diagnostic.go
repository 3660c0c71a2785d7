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

// The kinds of faults; Codes says what each is.
const (
	CodeInput        = "input"
	CodePackage      = "package"
	CodeSyntax       = "syntax"
	CodeImport       = "import"
	CodeTag          = "tag"
	CodeCUE          = "cue"
	CodeConflict     = "conflict"
	CodeIncomplete   = "incomplete"
	CodeUnknownField = "unknown-field"
	CodeMissing      = "missing"
	CodeType         = "type"
	CodeValue        = "value"
	CodeName         = "name"
	CodeReference    = "reference"
	CodeDuplicate    = "duplicate"
	CodeUnsafe       = "unsafe"
	CodeLimit        = "limit"
	CodeInternal     = "internal"
)

// Codes are the kinds of faults, with what each of them is.
var Codes = []Term{
	{CodeInput, "a file that cannot be read, or an argument that names nothing"},
	{CodePackage, "files of one directory that are no one package"},
	{CodeSyntax, "not CUE, JSON or YAML"},
	{CodeImport, "a package that is not in the module"},
	{CodeTag, "a tag that the description does not ask for"},
	{CodeCUE, "something that CUE cannot evaluate"},
	{CodeConflict, "one field with two values"},
	{CodeIncomplete, "a value that is not definite"},
	{CodeUnknownField, "a field that the schema does not have"},
	{CodeMissing, "a field that is required, or a part that cannot be done without"},
	{CodeType, "a value of another type"},
	{CodeValue, "a value that is not allowed there"},
	{CodeName, "a name that is not allowed there"},
	{CodeReference, "the name of something that does not exist, or something that nothing names"},
	{CodeDuplicate, "two that want the same"},
	{CodeUnsafe, "allowed by its form, but a danger"},
	{CodeLimit, "larger or slower than a description can be"},
	{CodeInternal, "a fault of Mailstead's own"},
}

// Excerpt is the line of the source that a Diagnostic is about.
type Excerpt struct {
	Line   string `json:"line"`   // the text of line Pos.Line, with secrets masked; cut if it is long
	Start  int    `json:"start"`  // the first marked character in Line, from 0
	Length int    `json:"length"` // the number of marked characters, at least 1
	// Col and EndCol are the marked characters in the line as it is in the file,
	// counted in characters from 1; EndCol is the one behind them.
	Col    int `json:"col"`
	EndCol int `json:"end_col"`
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
		list[i].Excerpt = x.excerpt(list[i].Pos, l.hidden[list[i].Pos] || l.isSecretText(list[i].Path))
	}
	return list
}

// maxExcerpts bounds the work for a description with thousands of faults.
const maxExcerpts = 1000

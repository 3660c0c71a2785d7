package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxShown is how many faults Error shows.
const MaxShown = 20

// Error is Text with at most MaxShown faults.
func (d Diagnostics) Error() string { return strings.TrimSuffix(d.Text(MaxShown), "\n") }

// Text renders at most limit faults and counts the rest; 0 renders all:
//
//	error[unknown-field]: hosts."mail.example.org".users.alice has no field "qouta" (did you mean "quota"?)
//	  --> host.cue:12:42
//	   12 |     users: alice: {qouta: 5}
//	      |                    ^^^^^
//	  hint: ...
func (d Diagnostics) Text(limit int) string {
	var b strings.Builder
	for i, x := range d {
		if limit > 0 && i == limit {
			fmt.Fprintf(&b, "%d more\n", len(d)-limit)
			break
		}
		b.WriteString(x.Text())
	}
	return b.String()
}

// Text renders one fault.
func (d Diagnostic) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "error[%s]: %s\n", d.Code, d.Message)
	if d.Pos.File != "" {
		fmt.Fprintf(&b, "  --> %s\n", plain(d.Pos.String()))
	}
	if e := d.Excerpt; e != nil {
		number := strconv.Itoa(d.Pos.Line)
		width := max(5, len(number)+1)
		fmt.Fprintf(&b, "%*s | %s\n%*s | %s%s\n", width, number, e.Line, width, "", strings.Repeat(" ", e.Start), strings.Repeat("^", e.Length))
	}
	if d.Hint != "" {
		fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
	}
	return b.String()
}

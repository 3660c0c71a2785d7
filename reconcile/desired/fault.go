package desired

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mailstead/schema"
)

// fault notes something that the description asks for and this host can never have.
func (b *builder) fault(code string, pos schema.Pos, message, hint string, at ...string) {
	b.faults = append(b.faults, schema.Diagnostic{
		Code: code, Path: fieldPath(append([]string{"hosts", b.host.Name}, at...)), Message: message, Pos: pos, Hint: hint,
	})
}

// sortFaults puts the faults in the order of the description, as schema.Load does.
func (b *builder) sortFaults() {
	slices.SortStableFunc(b.faults, func(x, y schema.Diagnostic) int {
		return cmp.Or(cmp.Compare(x.Pos.File, y.Pos.File), cmp.Compare(x.Pos.Line, y.Pos.Line), cmp.Compare(x.Pos.Col, y.Pos.Col))
	})
}

func (b *builder) userFault(code string, u schema.User, message, hint string) {
	b.fault(code, u.Origin, "user "+u.Name+": "+message, hint, "users", u.Name)
}

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// fieldPath writes a path as CUE does, such as hosts."mail.example.org".users.alice.
func fieldPath(fields []string) string {
	out := make([]string, len(fields))
	for i, f := range fields {
		if out[i] = f; !identifier.MatchString(f) {
			out[i] = strconv.Quote(f)
		}
	}
	return strings.Join(out, ".")
}

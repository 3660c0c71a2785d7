package render

import (
	"fmt"
	"regexp"
	"strings"
)

// unit writes a systemd unit. Values that come from outside go through words,
// exec and line, which refuse what could start a line of its own and escape
// what systemd would expand or split (systemd.syntax(7), systemd.unit(5)); set
// is for what this package says itself. The first refusal is kept in err.
type unit struct {
	b   strings.Builder
	err error
}

const unitHead = `# Kept by mailstead: "mailstead apply" writes this file again, and what is
# changed here is lost. Changes of one's own go into a drop-in: systemctl edit.
`

func newUnit() *unit {
	u := &unit{}
	u.b.WriteString(unitHead)
	return u
}

func (u *unit) section(name string) { u.b.WriteString("\n[" + name + "]\n") }

// set writes a value of this package's own, or a number.
func (u *unit) set(key string, value any) { fmt.Fprintf(&u.b, "%s=%v\n", key, value) }

// line writes a value that systemd takes as a whole, with its specifiers.
func (u *unit) line(key, value string) {
	u.check(key, value)
	u.set(key, strings.ReplaceAll(value, "%", "%%"))
}

// words writes a list of values that systemd splits at blanks. A leading "-"
// or "+" would be a flag to many of these settings: prefix is where they go.
func (u *unit) words(key, prefix string, values ...string) {
	out := make([]string, len(values))
	for i, v := range values {
		u.check(key, v)
		out[i] = unitWord(prefix + v)
	}
	u.set(key, strings.Join(out, " "))
}

// exec writes a command. Unlike elsewhere, "$" starts a variable there, and
// systemd takes no program whose path has quotes or a backslash.
func (u *unit) exec(key string, argv ...string) {
	u.path(key, argv[0])
	if strings.ContainsAny(argv[0], `"'\$`) {
		u.refuse(fmt.Errorf("%s: %q is no path of a program to systemd", key, argv[0]))
	}
	out := make([]string, len(argv))
	for i, v := range argv {
		u.check(key, v)
		out[i] = strings.ReplaceAll(unitWord(v), "$", "$$")
	}
	u.set(key, strings.Join(out, " "))
}

func (u *unit) check(key, value string) { u.refuse(checkLine(key, value)) }

func (u *unit) path(key, p string) { u.refuse(CheckPath(key, p)) }

func (u *unit) name(key string, form *regexp.Regexp, name string) {
	u.refuse(checkName(key, form, name))
}

func (u *unit) refuse(err error) {
	if u.err == nil {
		u.err = err
	}
}

func (u *unit) bytes() ([]byte, error) {
	if u.err != nil {
		return nil, fmt.Errorf("render unit: %w", u.err)
	}
	return []byte(u.b.String()), nil
}

// unitWord gives s as one word of a value: quoted where it has a character that
// ends or opens something, with specifiers and escapes made harmless.
func unitWord(s string) string {
	out := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(s)
	if out == "" || strings.ContainsAny(s, " \t\\\"';") {
		return `"` + out + `"`
	}
	return out
}

package render

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	accountName  = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)
	serverGroup  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,30}$`)
	listenerName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)
)

// checkLine refuses what would end a line early or change what follows it, in
// any of the files: control characters (a line feed above all), line separators
// and what is not UTF-8.
func checkLine(what, s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s: %q is not UTF-8", what, s)
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff' {
			return fmt.Errorf("%s: %q holds a control character", what, s)
		}
	}
	return nil
}

// CheckPath wants an absolute path in its shortest form that is not the root.
func CheckPath(what, p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return fmt.Errorf("%s: %q is not an absolute path in its shortest form", what, p)
	}
	// The kernel has no longer ones, and systemd passes over a line that has.
	if len(p) > 4095 || slices.ContainsFunc(strings.Split(p, "/"), func(name string) bool { return len(name) > 255 }) {
		return fmt.Errorf("%s: %.60q... is longer than a path or a name in it may be", what, p)
	}
	return checkLine(what, p)
}

// CheckElement wants a name that is one element of a path.
func CheckElement(what, name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.Contains(name, "/") {
		return fmt.Errorf("%s: %q is not a name that a path can hold", what, name)
	}
	return checkLine(what, name)
}

func checkName(what string, form *regexp.Regexp, name string) error {
	if !form.MatchString(name) {
		return fmt.Errorf("%s: %q is not a name that may stand there", what, name)
	}
	return nil
}

// shellWord quotes s so that sh takes it as one word, as it is.
func shellWord(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

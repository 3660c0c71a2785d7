// Package pam reads the rules of PAM's services as libpam does: which modules a
// service has, file by file. mailstead-pam asks it before each login, and
// reconcile/target for a plan. It runs no module and imports nothing of the project.
package pam

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Places are where libpam looks for the rules of a service, in its order.
type Places []string

// Host is the places of Debian's libpam.
var Host = Places{"/etc/pam.d", "/usr/lib/pam.d"}

// maxIncludes bounds how deep the files of rules include each other.
const maxIncludes = 16

// Rule is one rule of a service, in whatever file it stands.
type Rule struct {
	Facility string // "auth", "account", "password" or "session"
	Module   string // as it is written: a path, or a name in libpam's directory
	File     string
	Line     int // from 1
}

// Service reads the rules of a service that decides about logins. One without a file,
// or without rules for auth or account, is an error: for each facility that a service
// has no rule for, libpam goes by those of the service "other" without a word. On Debian
// that is whatever the host's other programs ask for, elsewhere often nothing at all.
func (p Places) Service(name string) ([]Rule, error) {
	r := reader{places: p, open: func(path string) (io.ReadCloser, error) { return os.Open(path) }}
	path, f, err := r.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s, and PAM would go by the rules of the service \"other\": run \"mailstead apply\", which writes it",
			filepath.Join(p[0], name))
	}
	if err != nil {
		return nil, fmt.Errorf("read PAM's rules: %w", err)
	}
	defer f.Close()
	if err := r.read(path, f, "", 0); err != nil {
		return nil, err
	}
	for _, facility := range []string{"auth", "account"} {
		if !Has(r.rules, facility) {
			return nil, fmt.Errorf("PAM's service %s has no rules for %s, and PAM would go by those of the service \"other\": add them to %s",
				name, facility, filepath.Join(p[0], name))
		}
	}
	return r.rules, nil
}

// Rules reads the rules of a file with those that it includes on the host whose root
// directory fsys is. Beside an error are those that were read before it.
func (p Places) Rules(fsys fs.FS, file string, text io.Reader) ([]Rule, error) {
	r := reader{places: p, open: func(path string) (io.ReadCloser, error) { return fsys.Open(strings.TrimPrefix(path, "/")) }}
	err := r.read(file, text, "", 0)
	return r.rules, err
}

// Has tells whether there are rules for a facility.
func Has(rules []Rule, facility string) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Facility == facility })
}

type reader struct {
	places Places
	open   func(path string) (io.ReadCloser, error) // of an absolute one
	rules  []Rule
}

// read adds the rules of a file. only is the facility that is included, "" for
// all of them.
func (r *reader) read(file string, text io.Reader, only string, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("PAM's rules include each other more than %d deep at %s", maxIncludes, file)
	}
	lines, begun, line := bufio.NewScanner(text), "", 0
	for lines.Scan() {
		line++
		piece, _, _ := strings.Cut(lines.Text(), "#")
		if more, ok := strings.CutSuffix(piece, `\`); ok {
			begun += more + " "
			continue
		}
		words := split(begun + piece)
		begun = ""
		if err := r.rule(words, Rule{File: file, Line: line}, only, depth); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read PAM's rules: %s: %w", file, err)
	}
	return nil
}

// rule is "facility control module arguments", or "@include file".
func (r *reader) rule(words []string, at Rule, only string, depth int) error {
	if len(words) < 2 {
		return nil
	}
	at.Facility = strings.ToLower(strings.TrimPrefix(words[0], "-"))
	switch {
	case at.Facility == "@include":
		return r.include(words[1], only, depth)
	case only != "" && at.Facility != only:
		return nil
	case len(words) > 2 && slices.Contains([]string{"include", "substack"}, strings.ToLower(words[1])):
		return r.include(words[2], at.Facility, depth)
	case len(words) > 2:
		at.Module = strings.Trim(words[2], "[]")
	}
	r.rules = append(r.rules, at)
	return nil
}

func (r *reader) include(name, only string, depth int) error {
	path, f, err := r.find(name)
	if err != nil {
		return fmt.Errorf("read PAM's rules: %w", err)
	}
	defer f.Close()
	return r.read(path, f, only, depth+1)
}

// split gives the words of a rule. What stands in brackets is one: the control
// "[success=1 default=ignore]", or an argument with blanks in it.
func split(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end := strings.IndexAny(line, " \t")
		if line[0] == '[' {
			end = strings.IndexByte(line, ']') + 1
		}
		if end <= 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
	return words
}

// find opens a file of rules by its name, and gives its path.
func (r *reader) find(name string) (path string, f io.ReadCloser, err error) {
	if filepath.IsAbs(name) {
		f, err = r.open(name)
		return name, f, err
	}
	for _, dir := range r.places {
		path = filepath.Join(dir, name)
		if f, err = r.open(path); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return path, f, err
}

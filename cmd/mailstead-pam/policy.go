package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// policyPlaces are where libpam looks for the rules of a service, in its order.
var policyPlaces = []string{"/etc/pam.d", "/usr/lib/pam.d"}

// maxIncludes bounds how deep the files of rules include each other.
const maxIncludes = 16

// policy is for which facilities a service has rules of its own. For each that
// it has none for, libpam goes by those of the service "other" without a word:
// on Debian that is whatever the host's other programs ask for, elsewhere often
// nothing at all.
type policy struct {
	auth, account, session bool
}

// readPolicy reads the rules of a service as far as that. The error says what is
// missing and what to do.
func readPolicy(service string) (policy, error) {
	var p policy
	if err := p.read(service, "", 0); err != nil {
		return policy{}, err
	}
	for facility, has := range map[string]bool{"auth": p.auth, "account": p.account} {
		if !has {
			return policy{}, fmt.Errorf("PAM's service %s has no rules for %s, and PAM would go by those of the service \"other\": add them to %s",
				service, facility, filepath.Join(policyPlaces[0], service))
		}
	}
	return p, nil
}

// read adds the rules of a file. only is the facility that is included, "" for
// all of them.
func (p *policy) read(name, only string, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("PAM's rules include each other more than %d deep at %s", maxIncludes, name)
	}
	f, err := openPolicy(name)
	if errors.Is(err, fs.ErrNotExist) && depth == 0 {
		return fmt.Errorf("there is no %s, and PAM would go by the rules of the service \"other\": run \"mailstead apply\", which writes it",
			filepath.Join(policyPlaces[0], name))
	}
	if err != nil {
		return fmt.Errorf("read PAM's rules: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := p.line(lines.Text(), only, depth); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read PAM's rules: %s: %w", f.Name(), err)
	}
	return nil
}

// line is one rule: "facility control module arguments", or "@include file".
func (p *policy) line(text, only string, depth int) error {
	text, _, _ = strings.Cut(text, "#")
	words := strings.Fields(text)
	if len(words) < 2 {
		return nil
	}
	facility := strings.ToLower(strings.TrimPrefix(words[0], "-"))
	if facility == "@include" {
		return p.read(words[1], only, depth+1)
	}
	if only != "" && facility != only {
		return nil
	}
	if slices.Contains([]string{"include", "substack"}, strings.ToLower(words[1])) && len(words) > 2 {
		return p.read(words[2], facility, depth+1)
	}
	p.auth = p.auth || facility == "auth"
	p.account = p.account || facility == "account"
	p.session = p.session || facility == "session"
	return nil
}

func openPolicy(name string) (*os.File, error) {
	if filepath.IsAbs(name) {
		return os.Open(name)
	}
	var err error
	for _, dir := range policyPlaces {
		var f *os.File
		if f, err = os.Open(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

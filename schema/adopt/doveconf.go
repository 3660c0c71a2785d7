package adopt

import (
	"slices"
	"strings"
)

// doveSetting is a line of doveconf's output.
type doveSetting struct {
	doveSection
	name   string
	value  string
	origin Origin
}

// doveSection is where a setting stands. Path is the sections around it, such as
// "service imap-login", "inet_listener imaps"; begun is the line where the innermost
// begins. What is for IMAP alone ("protocol imap") is as if it were for all.
type doveSection struct {
	path  []string
	begun int
}

// maxDeep bounds the sections in each other: Dovecot has three.
const maxDeep = 20

// readDoveconf reads the output of "doveconf -n", of Dovecot 2.3 and 2.4: settings,
// and sections in braces.
func readDoveconf(file string, data []byte) ([]doveSetting, error) {
	var list []doveSetting
	var open []doveSection // the last is the innermost
	var in doveSection
	if len(data) > maxFile {
		return nil, &SyntaxError{Origin{File: file}, "the file is larger than any configuration"}
	}
	for n, line := range numbered(data) {
		line = strings.TrimSpace(line)
		at := Origin{file, n}
		switch {
		case line == "" || line[0] == '#':
		case line == "}":
			if len(open) == 0 {
				return nil, &SyntaxError{at, "ends a section where none has begun"}
			}
			in, open = open[len(open)-1], open[:len(open)-1]
		case strings.HasSuffix(line, "{"):
			if len(open) == maxDeep {
				return nil, &SyntaxError{at, "has too many sections in each other"}
			}
			open = append(open, in)
			if head := strings.TrimSpace(strings.TrimSuffix(line, "{")); head != "protocol imap" {
				in = doveSection{append(in.path[:len(in.path):len(in.path)], head), n}
			}
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil, &SyntaxError{at, "is neither a setting nor a section: is this what \"doveconf -n\" writes?"}
			}
			value = strings.TrimSpace(value)
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(value[1 : len(value)-1])
			}
			list = append(list, doveSetting{in, strings.TrimSpace(name), value, at})
		}
	}
	if len(open) > 0 {
		return nil, &SyntaxError{Origin{File: file}, "ends inside of a section: " + strings.Join(in.path, ", ")}
	}
	if len(list) == 0 { // and so no passdb: nobody could log in there
		return nil, &SyntaxError{Origin{File: file}, "has no setting: see whether \"doveconf -nP\", which was to write it, fails"}
	}
	return list, nil
}

// setting is the same as one of Courier's.
func (s doveSetting) setting() Setting { return Setting{s.name, s.value, s.origin} }

// within tells whether the innermost section is of that kind, and gives its name.
func (s doveSection) within(kind string) (name string, ok bool) {
	if len(s.path) == 0 {
		return "", false
	}
	what, name, _ := strings.Cut(s.path[len(s.path)-1], " ")
	return strings.Trim(strings.TrimSpace(name), `"`), what == kind
}

// sections gives the settings that stand in a section and in none below it, for
// each of its kind: "passdb" in 2.3, "passdb pam" in 2.4.
func sections(list []doveSetting, kind string) [][]doveSetting {
	var all [][]doveSetting
	begun := 0
	for _, s := range list {
		if _, ok := s.within(kind); !ok || len(s.path) != 1 {
			continue
		}
		if s.begun != begun {
			all, begun = append(all, nil), s.begun
		}
		all[len(all)-1] = append(all[len(all)-1], s)
	}
	return all
}

// top gives a setting that stands in no section; of one that is there twice, the last.
func top(list []doveSetting, names ...string) Setting {
	return last(topmost(list), names...)
}

// topmost gives the settings that stand in no section.
func topmost(list []doveSetting) []doveSetting {
	return slices.DeleteFunc(slices.Clone(list), func(s doveSetting) bool { return len(s.path) > 0 })
}

// last gives the last of the settings with one of the names.
func last(list []doveSetting, names ...string) (found Setting) {
	for _, s := range list {
		if slices.Contains(names, s.name) {
			found = s.setting()
		}
	}
	return found
}

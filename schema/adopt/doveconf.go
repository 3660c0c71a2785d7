package adopt

import (
	"strings"
)

// doveSetting is a line of doveconf's output. Path is the sections around it, such
// as "service imap-login", "inet_listener imaps".
type doveSetting struct {
	path   []string
	name   string
	value  string
	origin Origin
}

// maxDeep bounds the sections in each other: Dovecot has three.
const maxDeep = 20

// readDoveconf reads the output of "doveconf -n", of Dovecot 2.3 and 2.4: settings,
// and sections in braces.
func readDoveconf(file string, data []byte) ([]doveSetting, error) {
	var list []doveSetting
	var path []string
	if len(data) > maxFile {
		return nil, &SyntaxError{Origin{File: file}, "the file is larger than any configuration"}
	}
	for n, line := range numbered(data) {
		line = strings.TrimSpace(line)
		at := Origin{file, n}
		switch {
		case line == "" || line[0] == '#':
		case line == "}":
			if len(path) == 0 {
				return nil, &SyntaxError{at, "ends a section where none has begun"}
			}
			path = path[:len(path)-1]
		case strings.HasSuffix(line, "{"):
			if len(path) == maxDeep {
				return nil, &SyntaxError{at, "has too many sections in each other"}
			}
			path = append(path[:len(path):len(path)], strings.TrimSpace(strings.TrimSuffix(line, "{")))
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil, &SyntaxError{at, "is neither a setting nor a section: is this what \"doveconf -n\" writes?"}
			}
			value = strings.TrimSpace(value)
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(value[1 : len(value)-1])
			}
			list = append(list, doveSetting{path, strings.TrimSpace(name), value, at})
		}
	}
	if len(path) > 0 {
		return nil, &SyntaxError{Origin{File: file}, "ends inside of the section " + path[len(path)-1]}
	}
	return list, nil
}

// setting is the same as one of Courier's.
func (s doveSetting) setting() Setting { return Setting{s.name, s.value, s.origin} }

// within tells whether the innermost section is of that kind, and gives its name.
func (s doveSetting) within(kind string) (name string, ok bool) {
	if len(s.path) == 0 {
		return "", false
	}
	what, name, _ := strings.Cut(s.path[len(s.path)-1], " ")
	return strings.Trim(strings.TrimSpace(name), `"`), what == kind
}

// section gives the settings that stand in a section and in none below it, for
// each of its kind: "passdb" in 2.3, "passdb pam" in 2.4.
func sections(list []doveSetting, kind string) [][]doveSetting {
	var all [][]doveSetting
	last := -1
	for i, s := range list {
		if _, ok := s.within(kind); !ok || len(s.path) != 1 {
			continue
		}
		// Two sections of one kind share no slice of their path.
		if last < 0 || &list[last].path[0] != &s.path[0] {
			all = append(all, nil)
		}
		all[len(all)-1], last = append(all[len(all)-1], s), i
	}
	return all
}

// value gives a setting at the top; of one that is there twice, the last.
func top(list []doveSetting, names ...string) (found Setting) {
	for _, s := range list {
		for _, name := range names {
			if len(s.path) == 0 && s.name == name {
				found = s.setting()
			}
		}
	}
	return found
}

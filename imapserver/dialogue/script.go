package dialogue

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mailstead/imapserver/config"
)

// Script is a parsed script.
type Script struct {
	Setup
	Name     string
	Covers   []string
	Requires []string
	Only     string
	Steps    []Step

	messages map[string]string // with CRLF
}

// Setup is how a script's user is configured.
type Setup struct {
	Namespace string
	Users     []string // beside the one whose account it is
	Off       []string // capabilities that are switched off
	Quota     *config.Quota
	Keep      int64  // seconds for which what is expunged is kept
	Discard   bool   // what the user expunges goes into the trash
	Verifier  bool   // every user has a verifier of SCRAM in place of a hash
	Elsewhere string // where the user's mail is, if not here
}

// Step is a line of a script.
type Step struct {
	Line   int
	Server string // "" or the only server that it counts on
	Verb   string // C, S, U, N, R, or that of an action
	Conn   int
	Text   string
	Args   []string // of an action
}

// actions is how many arguments each takes.
var actions = map[string]struct{ min, max int }{
	"message":  {1, 1},
	"mkdir":    {1, 1},
	"deliver":  {2, 3},
	"put":      {2, 4},
	"remove":   {2, 2},
	"flags":    {3, 3},
	"differ":   {2, 2},
	"use":      {2, 2},
	"as":       {2, 2},
	"connect":  {1, 2},
	"starttls": {1, 1},
	"deflate":  {1, 1},
	"close":    {1, 1},
	"eof":      {1, 1},
}

var saying = regexp.MustCompile(`^([CSUNR])([1-9]?): ?(.*)$`)

// Parse reads a script.
func Parse(name, text string) (*Script, error) {
	s := &Script{Name: name, messages: map[string]string{}}
	message := ""
	for i, line := range strings.Split(text, "\n") {
		if content, ok := strings.CutPrefix(line, "|"); ok && message != "" {
			s.messages[message] += strings.TrimPrefix(content, " ") + "\r\n"
			continue
		}
		message = ""
		step, err := s.parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		if step.Verb == "message" {
			message = step.Args[0]
			s.messages[message] = ""
		} else if step.Verb != "" {
			step.Line = i + 1
			s.Steps = append(s.Steps, step)
		}
	}
	if len(s.Steps) == 0 {
		return nil, fmt.Errorf("%s: nothing is said", name)
	}
	return s, s.check()
}

// check reads every pattern and every octet string, so that a fault in a
// script shows on a server too that does not run it.
func (s *Script) check() error {
	for _, step := range s.Steps {
		var err error
		switch step.Verb {
		case "S", "U", "N":
			_, err = parseResponse(step.Text, s.messages)
		case "R":
			_, err = rawOctets(step.Text)
		case "C":
			_, err = s.pieces(step.Text, func(name string) (string, bool) { return name, true })
		case "deliver", "put", "remove", "flags":
			if _, ok := s.messages[step.Args[1]]; !ok {
				err = fmt.Errorf("no message %q", step.Args[1])
			}
		case "as":
			if !slices.Contains(s.Users, step.Args[1]) {
				err = fmt.Errorf("no user %q", step.Args[1])
			}
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.Name, step.Line, err)
		}
	}
	return nil
}

// parseLine reads a line; that of a comment has no Verb.
func (s *Script) parseLine(line string) (Step, error) {
	if comment, ok := strings.CutPrefix(line, "#"); ok {
		s.parseComment(comment)
		return Step{}, nil
	}
	var step Step
	if rest, ok := strings.CutPrefix(line, "@"); ok {
		step.Server, line, _ = strings.Cut(rest, " ")
		if step.Server != "dovecot" && step.Server != "mailstead" {
			return step, fmt.Errorf("no server %q", step.Server)
		}
	}
	if m := saying.FindStringSubmatch(line); m != nil {
		step.Verb, step.Conn, step.Text = m[1], 1, m[3]
		if m[2] != "" {
			step.Conn = int(m[2][0] - '0')
		}
		return step, nil
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return Step{}, nil
	}
	step.Verb, step.Args = words[0], words[1:]
	n, ok := actions[step.Verb]
	if !ok || len(step.Args) < n.min || len(step.Args) > n.max {
		return step, fmt.Errorf("cannot read %q", line)
	}
	switch step.Verb {
	case "connect", "starttls", "deflate", "close", "eof", "as":
		c, err := strconv.Atoi(step.Args[0])
		if err != nil || c < 1 || c > 9 {
			return step, fmt.Errorf("no connection %q", step.Args[0])
		}
		step.Conn = c
	}
	return step, nil
}

func (s *Script) parseComment(comment string) {
	key, value, _ := strings.Cut(strings.TrimSpace(comment), ":")
	words := strings.Fields(value)
	switch {
	case len(words) == 0:
	case key == "covers":
		s.Covers = append(s.Covers, words...)
	case key == "requires":
		s.Requires = append(s.Requires, words...)
	case key == "only":
		s.Only = strings.Trim(words[0], ",;")
	case key == "users":
		s.Users = append(s.Users, words...)
	case key == "quota":
		s.Quota = &config.Quota{Set: slices.Contains(words, "set")}
		s.Quota.Storage, _ = strconv.ParseInt(words[0], 10, 64)
		if len(words) > 1 {
			s.Quota.Messages, _ = strconv.ParseInt(words[1], 10, 64)
		}
	case key == "expunge":
		s.Discard = words[0] == "trash"
	case key == "verifier":
		s.Verifier = true
	case key == "elsewhere":
		s.Elsewhere = words[0]
	case key == "off":
		s.Off = append(s.Off, words...)
	case key == "namespace":
		s.Namespace = words[0]
	}
}

// Commands gives the commands that the script sends in lines of their own, in
// capitals, with UID in front of those that it is part of.
func (s *Script) Commands() []string {
	var list []string
	for _, step := range s.Steps {
		text := step.Text
		switch step.Verb {
		case "R":
			text, _ = rawOctets(text) // Parse has read it
		case "C":
		default:
			continue
		}
		words := strings.Fields(strings.ToUpper(text))
		if len(words) > 2 && words[1] == "UID" {
			words[1] += " " + words[2]
		}
		if len(words) > 1 && !slices.Contains(list, words[1]) {
			list = append(list, words[1])
		}
	}
	return list
}

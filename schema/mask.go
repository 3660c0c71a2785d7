package schema

import (
	"regexp"
	"strings"
)

const (
	stringLiteral = `"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?`
	secretWord    = `(?i:hash|pass|pw|secret)\w*`
	colon         = `[?!]?\s*:`
)

// label is a regular expression for a name, with or without quotes, and its colon.
func label(name string) string {
	return `(?:"` + name + `"|'` + name + `'|` + name + `)` + colon
}

var (
	anyString   = regexp.MustCompile(`(?:` + stringLiteral + `)(\s*:)?`)
	anyWord     = regexp.MustCompile(stringLiteral + `|[^\s{}\[\],:"']+`)
	aName       = label(`[\w.@#$-]+`)
	anyName     = regexp.MustCompile(`[^\s{}\[\],:]` + colon + `\s*`)
	secretName  = regexp.MustCompile(secretWord + `["']?` + colon + `\s*`)
	hashName    = regexp.MustCompile(`(?i:hash)\w*["']?` + colon + `\s*`) // below which there are no names
	cryptString = regexp.MustCompile(`(?:\$[0-9a-z-]{1,12}\$|SCRAM-SHA-256\$|\{[A-Z][A-Za-z0-9.-]+\}[^\s"',}\]])[^\s"'}]*`)

	// What follows: names in the place of a value, as in "password: hash: ...", a word
	// that is no secret, what is no part of a string, and where a value in braces ends.
	mistyped  = regexp.MustCompile(`^((?:` + aName + `\s+)+)["']`)
	nameNext  = regexp.MustCompile(`^(?:(?:` + aName + `\s+)+(?:["'{\[]|$)|(?:` + aName + `\s+)*` + label(`\w*`+secretWord) + `\s)`)
	wordNext  = regexp.MustCompile(`^(?:null|true|false)(?:[\s,}\]]|$)`)
	colonNext = regexp.MustCompile(`^\s*:\s*`)
	endNext   = regexp.MustCompile(`^\s*(?:$|[,}\]]|#|//)`)
	braceEnd  = regexp.MustCompile(`^(?:[}\]][}\]\s]{0,64}(?:$|,|#|//)|,\s*` + aName + `)`)
)

// secrecy says how much of a line may be secret.
type secrecy int

const (
	secretValues secrecy = iota // what follows names such as hash and password, and has the form of a hash
	secretFault                 // everything but the names of fields: a fault of a secret stands in it
	secretWhole                 // everything but the name "hash": it goes on from a secret in a line before
)

// mask hides what may be a secret, and keeps every length. The line may be CUE, JSON or
// YAML, and wrong in any way: what is not certain is hidden.
func mask(line string, secret secrecy) string {
	m := masker{line, []byte(line)}
	m.values(0, len(line), false)
	switch secret {
	case secretFault:
		m.values(0, len(line), true)
	case secretWhole:
		m.words(0, len(line))
	}
	for _, at := range cryptString.FindAllStringIndex(line, -1) {
		m.hide(at[0], at[1])
	}
	return string(m.text)
}

// masker is a line in which secrets are being hidden.
type masker struct {
	line string
	text []byte
}

func (m *masker) hide(from, to int) {
	if from < to && strings.IndexByte(`"'`, m.line[from]) >= 0 {
		if m.line[to-1] == m.line[from] {
			to--
		}
		from++
	}
	for i := from; i < to; i++ {
		m.text[i] = '*'
	}
}

// values hides the values of secrets in a part of the line; all: of every name.
func (m *masker) values(from, to int, all bool) {
	names, named := secretName, false
	if all {
		names = anyName
	}
	for at := from; ; named = true {
		name := names.FindStringIndex(m.line[at:to])
		if name == nil {
			break
		}
		nameless := hashName.MatchString(m.line[at+name[0] : at+name[1]])
		at = m.value(at+name[1], to, all, nameless)
	}
	if !all {
		return
	}
	for _, s := range anyString.FindAllStringSubmatchIndex(m.line[from:to], -1) {
		if s[2] == s[3] { // no name of a field
			m.hide(from+s[0], from+s[1])
		}
	}
	if named {
		return
	}
	m.words(from, to) // it goes on from the line before
}

// words hides everything but brackets, commas and colons, and the name that is no secret
// itself.
func (m *masker) words(from, to int) {
	for _, w := range anyWord.FindAllStringIndex(m.line[from:to], -1) {
		if word := m.line[from+w[0] : from+w[1]]; strings.Trim(word, `"'?!`) != "hash" || !colonNext.MatchString(m.line[from+w[1]:]) {
			m.hide(from+w[0], from+w[1])
		}
	}
}

// value hides one, and says from where on there may be others. It has no names in it if
// it is nameless.
func (m *masker) value(from, to int, all, nameless bool) int {
	rest := m.line[from:to]
	if names := mistyped.FindStringSubmatch(rest); names != nil && !all { // "password: hsah: ..."
		from += len(names[1])
		rest = m.line[from:to]
	}
	switch {
	case rest == "":
		return to
	case rest[0] == '"' || rest[0] == '\'':
		end := tokenLength(rest)
		if colonNext.MatchString(rest[end:]) {
			return from + end
		}
		if endNext.MatchString(rest[end:]) {
			m.hide(from, from+end)
			return from + end
		}
	case rest[0] == '{' && !scheme.MatchString(rest):
		if all {
			return from + 1
		}
		end := m.closing(from, to)
		m.values(from+1, end, true)
		if nameless || !hashName.MatchString(m.line[from+1:end]) { // what is a name may be the secret
			m.words(from+1, end)
		}
		return end
	case nameNext.MatchString(rest), all && wordNext.MatchString(rest):
		return from
	}
	end := m.end(from, to)
	m.hide(from, end)
	return end
}

// closing finds the brace that closes the one at from.
func (m *masker) closing(from, to int) int {
	depth := 0
	for i := from; i < to; i++ {
		switch m.line[i] {
		case '"', '\'':
			i += tokenLength(m.line[i:to]) - 1
		case '{':
			depth++
		case '}':
			if braceEnd.MatchString(m.line[i:to]) {
				depth--
			}
			if depth == 0 {
				return i
			}
		}
	}
	return to
}

// end finds the end of a value that is not one string. That is the end of the line,
// unless there is a comment, or it stands in braces.
func (m *masker) end(from, to int) int {
	braces := strings.IndexByte(m.line[:from], '{') >= 0
	for i := from + 1; i < to; i++ {
		switch c := m.line[i]; {
		case c == '#' && strings.IndexByte(" \t", m.line[i-1]) >= 0:
			return from + len(strings.TrimRight(m.line[from:i], " \t"))
		case braces && strings.IndexByte(",}]", c) >= 0 && braceEnd.MatchString(m.line[i:to]):
			return i
		}
	}
	return to
}

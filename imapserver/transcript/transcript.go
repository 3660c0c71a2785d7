// Package transcript makes lines to read of what a client and a server say to each
// other, as it happens: passwords and what SASL mechanisms exchange are masked, and
// messages are left out unless they are asked for. Login and the sessions of workers
// feed it while somebody looks on; it imports nothing of the project.
package transcript

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Line is one line of the dialogue, without its end.
type Line struct {
	At     time.Time `json:"at"`
	Server bool      `json:"server,omitempty"` // it is what the server says
	Text   string    `json:"text"`
}

// The bounds of what is shown of a line and of a literal that is none of a message.
const (
	maxLine    = 2000
	maxLiteral = 1000
	maxTail    = 40 // of a longer line, which may end with the size of a literal
)

// masked stands for what nobody shall read.
const masked = "(masked)"

// Transcript is the dialogue of one connection from the beginning of a line on. Its
// methods may be called from several goroutines.
type Transcript struct {
	bodies bool
	emit   func(Line)

	mu     sync.Mutex
	client side
	server side

	tag    string         // of the last command
	open   map[string]int // commands that are not answered, by their tags, of which clients may use one again
	secret bool           // the last command has a password in it
	hidden bool           // until that is answered nothing is shown of what the client says: an exchange, or what it has not waited with
	stray  string         // the last line of the client that was one word, and so no command
	wants  int64          // octets of a literal that the client has announced, and waits to be asked for; -1: of none
}

// side is one direction.
type side struct {
	head    []byte // of the line, as much as is shown
	tail    []byte // its last octets, where it is longer
	size    int    // of the line
	body    bool   // the command or response has a message in its literals
	goesOn  bool   // the line goes on a command or response after a literal
	literal int64  // octets of a literal that are still to come
	shown   []byte // of the literal
	text    string // that takes the literal's place; "" shows it
	whole   int64  // its size
}

// New makes a transcript, of which emit gets each line. It is called with the
// transcript's lock held.
func New(bodies bool, emit func(Line)) *Transcript {
	return &Transcript{bodies: bodies, emit: emit, wants: -1}
}

// Client takes what the client has said.
func (t *Transcript) Client(p []byte) { t.take(&t.client, p, t.clientLine) }

// Server takes what the server has said.
func (t *Transcript) Server(p []byte) { t.take(&t.server, p, t.serverLine) }

func (t *Transcript) take(s *side, p []byte, line func(text string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(p) > 0 {
		if s.literal > 0 {
			n := int(min(s.literal, int64(len(p))))
			t.takeLiteral(s, p[:n])
			p = p[n:]
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.add(p)
			return
		}
		s.add(p[:i])
		p = p[i+1:]
		text := s.line()
		line(text)
	}
}

// takeLiteral takes some of a literal, and tells of it at its end.
func (t *Transcript) takeLiteral(s *side, p []byte) {
	if s.text == "" {
		s.shown = append(s.shown, p[:min(len(p), maxLiteral-len(s.shown))]...)
	}
	if s.literal -= int64(len(p)); s.literal > 0 {
		return
	}
	text := s.text
	if text == "" {
		text = string(s.shown)
		if more := s.whole - int64(len(s.shown)); more > 0 {
			text += fmt.Sprintf("... (%d octets more)", more)
		}
	}
	t.tell(s, text)
	s.shown = nil
}

// add adds to the line.
func (s *side) add(p []byte) {
	room := maxLine - len(s.head)
	s.head = append(s.head, p[:min(len(p), room)]...)
	s.size += len(p)
	if len(p) > room {
		s.tail = append(s.tail, p[room:]...)
		s.tail = append(s.tail[:0:0], s.tail[max(len(s.tail)-maxTail, 0):]...)
	}
}

// line ends the line, and gives it. Behind what is left out there is only the size of
// a literal: of the rest nobody could tell what it is.
func (s *side) line() string {
	head, tail := string(s.head), strings.TrimSuffix(string(s.tail), "\r")
	if more := s.size - len(s.head); more > len(s.tail) {
		tail = withLiteral(fmt.Sprintf("... (%d octets more) ...", more), tail)
	}
	s.head, s.tail, s.size = nil, nil, 0
	return strings.TrimSuffix(head+tail, "\r")
}

func (t *Transcript) tell(s *side, text string) {
	t.emit(Line{At: time.Now(), Server: s == &t.server, Text: strings.ToValidUTF8(text, string(utf8.RuneError))})
}

// size reads the size of a literal that a line ends with (RFC 9051 §4.3, RFC 7888,
// RFC 3516). sync says that the client waits to be asked for it.
func size(line string) (n int64, sync, ok bool) {
	text, found := strings.CutSuffix(line, "}")
	i := strings.LastIndexByte(text, '{')
	if !found || i < 0 {
		return 0, false, false
	}
	digits, plus := strings.CutSuffix(text[i+1:], "+")
	octets, err := strconv.ParseUint(digits, 10, 63) // no sign
	return int64(octets), !plus, err == nil
}

func (t *Transcript) clientLine(text string) {
	s := &t.client
	if t.wants >= 0 { // it has not waited, and so this may be the literal or not
		t.hidden = true
	}
	t.wants = -1
	goesOn := s.goesOn
	s.goesOn = false
	if t.hidden {
		t.tell(s, masked)
		return
	}
	n, sync, literal := size(text)
	shown := text
	if !goesOn {
		shown = t.begin(text)
	}
	if t.secret && goesOn && text != "" {
		shown = masked
	}
	if shown == masked && literal {
		shown += text[strings.LastIndexByte(text, '{'):]
	}
	if shown != "" || !goesOn {
		t.tell(s, shown)
	}
	switch {
	case !literal:
	case sync:
		t.wants = n
	default:
		t.literal(s, n)
	}
}

// begin looks at the first line of a command, and gives what is shown of it.
func (t *Transcript) begin(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f })
	t.tag, t.secret, t.client.body = "", false, false
	if len(words) > 0 {
		t.tag = words[0]
		t.opened(t.tag)
	}
	if len(words) == 1 && !strings.EqualFold(words[0], "DONE") {
		t.stray = words[0] // perhaps of an exchange that the server has ended already
		return withLiteral(masked, text)
	}
	for i, w := range words[:min(len(words), 3)] {
		switch strings.ToUpper(w) {
		case "LOGIN":
			if i == 2 { // an argument
				continue
			}
			t.secret = true
			return withLiteral(strings.Join(words[:i+1], " ")+" "+masked, text)
		case "AUTHENTICATE":
			if i == 2 {
				continue
			}
			t.hidden = true
			shown := strings.Join(words[:min(len(words), i+2)], " ")
			if len(words) > i+2 {
				shown += " " + masked
			}
			return shown
		case "APPEND", "REPLACE":
			t.client.body = true
		}
	}
	return text
}

// maxOpen bounds the tags that wait for an answer. There is none to what has no tag.
const maxOpen = 100

func (t *Transcript) opened(tag string) {
	if t.open == nil || len(t.open) >= maxOpen {
		t.open = map[string]int{}
	}
	t.open[tag]++
}

// answered takes note of a response that begins with a word, and tells whether it is to
// the last command of that tag.
func (t *Transcript) answered(word string) bool {
	if t.open[word] > 1 {
		t.open[word]--
		return false
	}
	delete(t.open, word)
	return true
}

// withLiteral ends what is shown of a line with the size that the line ends with.
func withLiteral(shown, line string) string {
	if _, _, ok := size(line); ok {
		return shown + " " + line[strings.LastIndexByte(line, '{'):]
	}
	return shown
}

// literal begins a literal.
func (t *Transcript) literal(s *side, n int64) {
	s.goesOn, s.literal, s.whole, s.text = true, n, n, ""
	switch {
	case s == &t.client && (t.secret || t.hidden):
		s.text = masked
	case s.body && !t.bodies:
		s.text = fmt.Sprintf("(%d octets)", n)
	}
	if n == 0 {
		t.takeLiteral(s, nil)
	}
}

// snippets are parts of messages that a response has in its lines, which may have been
// cut short.
var snippets = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(PREVIEW|(?:BODY|BINARY)\[[^\]]*\](?:<\d+>)?) "(?:[^"\\]|\\.)*\\?(?:"|$)`)
})

func (t *Transcript) serverLine(text string) {
	s := &t.server
	goesOn := s.goesOn
	s.goesOn = false
	word, rest, _ := strings.Cut(text, " ")
	shown := text
	if !goesOn {
		t.heed(word, &shown)
		s.body = strings.HasPrefix(word, "*") && strings.Contains(rest, "FETCH (") // or UIDFETCH
	}
	if !t.bodies {
		shown = snippets().ReplaceAllString(shown, `$1 "..."`)
	}
	if shown != "" || !goesOn {
		t.tell(s, shown)
	}
	if n, _, ok := size(text); ok && word != "+" {
		t.literal(s, n)
	}
}

// heed looks what the beginning of a response means for what the client says next.
func (t *Transcript) heed(word string, shown *string) {
	switch {
	case word == "+" && t.hidden:
		*shown = "+ " + masked
	case word == "+" && t.wants >= 0:
		n := t.wants
		t.wants = -1
		t.literal(&t.client, n)
	case t.answered(word) && word == t.tag && word != "":
		t.hidden, t.wants, t.client.goesOn = false, -1, false
	}
	if word != "" && word != "*" && strings.HasPrefix(t.stray, word) { // it is answered as a tag
		*shown = masked + strings.TrimPrefix(*shown, word)
	}
}

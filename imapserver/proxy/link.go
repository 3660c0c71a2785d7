package proxy

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// digest stands for a user with a password, see pool.
type digest [sha256.Size]byte

// link is a connection to a server on which a user is logged in. One goroutine has
// it at a time.
type link struct {
	server *server
	nc     net.Conn
	br     *bufio.Reader

	mark   string // begins the tags of the proxy's own commands: no client can guess it
	serial int
	caps   []string // of the server, in the state that the link is in
	code   string   // response code of the answer to the login
	text   string

	user    string
	digest  digest
	checked time.Time     // when the server has looked at the password
	watched chan struct{} // closed once nobody watches it any more
	gone    bool          // the watcher has found that it is of no use
}

// What a server may say in one response, and to one command, while the proxy
// itself reads it.
const (
	maxResponse  = 64 << 10
	maxResponses = 1000
	maxText      = 500 // octets of what it says to people: it gets into the log, and to clients
)

var errTooMuch = errors.New("the server says more than a proxy reads")

// readSize is that of a link's buffer, and the longest response that is looked
// at while it is passed on.
const readSize = 8 << 10

func newLink(s *server, nc net.Conn) *link {
	return &link{server: s, nc: nc, br: bufio.NewReaderSize(nc, readSize), mark: "p" + strings.ToLower(rand.Text()[:12])}
}

// tag makes one for the next command.
func (l *link) tag() string {
	l.serial++
	return l.mark + strconv.Itoa(l.serial)
}

// answer is a tagged response.
type answer struct{ status, code, text string }

// ok says whether a command was done.
func (a answer) ok() bool { return a.status == "OK" }

// String gives it for the log.
func (a answer) String() string {
	if a.code != "" {
		return fmt.Sprintf("%s [%s] %s", a.status, a.code, a.text)
	}
	return a.status + " " + a.text
}

// response reads one response with its literals, without the CRLF at its end.
func (l *link) response() ([]byte, error) {
	var all []byte
	for {
		piece, err := l.br.ReadSlice('\n')
		all = append(all, piece...)
		switch {
		case len(all) > maxResponse:
			return nil, errTooMuch
		case err == bufio.ErrBufferFull:
			continue
		case err != nil:
			return nil, err
		}
		n, _, ok := literal(all)
		if !ok || isStatus(all) {
			return bytes.TrimRight(all, "\r\n"), nil
		}
		if n > maxResponse {
			return nil, errTooMuch
		}
		for range n {
			c, err := l.br.ReadByte()
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
}

// byeError is BYE in place of an answer.
type byeError struct{ text string }

func (e byeError) Error() string { return "the server says BYE " + e.text }

// expect reads up to the answer to a command, or up to a continuation request,
// which has the status "+". Capabilities that it meets it keeps.
func (l *link) expect(tag string) (answer, error) {
	for range maxResponses {
		line, err := l.response()
		if err != nil {
			return answer{}, err
		}
		first, rest, _ := strings.Cut(string(line), " ")
		switch {
		case first == tag:
			a := parseStatus(rest)
			if !slices.Contains([]string{"OK", "NO", "BAD"}, a.status) {
				return answer{}, fmt.Errorf("the server answers %.40q", line)
			}
			l.learn(a.code)
			return a, nil
		case first == "+":
			return answer{status: "+"}, nil
		case first == "*":
			if a := parseStatus(rest); a.status == "BYE" {
				return answer{}, byeError{a.text}
			}
			l.learn(rest)
		default:
			return answer{}, fmt.Errorf("the server says %.40q, which is no response", line)
		}
	}
	return answer{}, errTooMuch
}

// learn keeps a list of capabilities.
func (l *link) learn(data string) {
	if list, ok := cutWord(data, "CAPABILITY"); ok {
		l.caps = strings.Fields(list)
	}
}

// has tells whether the server has a capability.
func (l *link) has(name string) bool { return contains(l.caps, name) }

// command has the server do something, and reads its answer.
func (l *link) command(text string) (answer, error) {
	tag := l.tag()
	if _, err := l.nc.Write([]byte(tag + " " + text + "\r\n")); err != nil {
		return answer{}, err
	}
	a, err := l.expect(tag)
	if err == nil && a.status == "+" {
		err = errors.New("the server asks to go on with a command that is whole")
	}
	return a, err
}

// quit ends the connection as a client does.
func (l *link) quit() {
	l.nc.SetWriteDeadline(time.Now().Add(time.Second))
	l.nc.Write([]byte(l.tag() + " LOGOUT\r\n"))
	l.nc.Close()
}

// parseStatus reads what follows a tag: OK, NO, BAD, BYE or PREAUTH, a code and a
// text.
func parseStatus(s string) answer {
	status, rest, _ := strings.Cut(s, " ")
	a := answer{status: strings.ToUpper(status), text: rest}
	if inner, ok := strings.CutPrefix(rest, "["); ok {
		if code, text, ok := strings.Cut(inner, "]"); ok {
			a.code, a.text = code, strings.TrimPrefix(text, " ")
		}
	}
	a.text = a.text[:min(len(a.text), maxText)]
	return a
}

// cutWord gives what follows a first word, which may be in any case.
func cutWord(s, word string) (rest string, ok bool) {
	first, rest, _ := strings.Cut(s, " ")
	return rest, strings.EqualFold(first, word)
}

func contains(list []string, name string) bool {
	for _, each := range list {
		if strings.EqualFold(each, name) {
			return true
		}
	}
	return false
}

package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/handoff"
)

// session is a client and the link that it has. Two goroutines pass octets on: up
// to the server, down to the client.
type session struct {
	front *front
	link  *link
	tag   string // of the login
	rules *rules // as they were at its beginning

	client net.Conn // whose writes have a deadline
	server net.Conn
	in     lines
	out    lines
	toward *bufio.Writer // the server; up's
	ended  chan struct{} // closed when down has ended
	veiled atomic.Bool   // what passes cannot be read any more; down's to say

	mu      sync.Mutex
	back    *bufio.Writer // the client
	between bool          // down has passed on whole responses, and waits
	open    int           // commands that the server has not answered
	idling  int           // continuation requests that are IDLE's
	waits   wait          // what up waits for
	verdict chan bool     // whether it comes
	spoiled bool          // the link is not to be kept
	chosen  bool          // a mailbox may be selected
	closed  bool          // it was closed since, or could not be
	notify  bool          // NOTIFY was used
	logout  string        // tag of the LOGOUT that is not answered
	told    bool          // the client has its last answer
	parting string        // what it is told in place of one
	undo    []step        // what the server has still to answer
}

// wait is what a client waits for before it sends more, and up with it.
type wait int

const (
	nothing wait = iota
	toGoOn       // the server takes a literal
	toVeil       // it compresses from now on, and so does the client
)

// step is a command by which a session is undone.
type step struct {
	tag string
	ok  bool // the answer that is wanted: OK, or anything else
}

// stalled is a connection whose far end has a while for each write.
type stalled struct {
	net.Conn
	patience time.Duration
}

func (s stalled) Write(b []byte) (int, error) {
	s.SetWriteDeadline(time.Now().Add(s.patience))
	return s.Conn.Write(b)
}

func newSession(f *front, l *link, c *handoff.Client, tag string) *session {
	patience := f.patience()
	s := &session{front: f, link: l, tag: tag, rules: f.rules.Load(), ended: make(chan struct{}), verdict: make(chan bool, 1)}
	s.client, s.server = stalled{c, patience}, stalled{l.nc, patience}
	s.in.br, s.out.br = bufio.NewReaderSize(c, 1<<10), l.br
	s.toward, s.back = bufio.NewWriterSize(s.server, 4<<10), bufio.NewWriterSize(s.client, readSize)
	return s
}

// serve passes octets on until client or server have ended, and says whether the
// link is as it was after the login.
func (s *session) serve() (clean bool) {
	s.greet()
	var up sync.WaitGroup
	up.Go(s.up)
	clean = s.down()
	close(s.ended)
	s.mu.Lock()
	if !s.told {
		s.told = true
		s.back.Flush()
	}
	s.mu.Unlock()
	s.client.Close()
	if !clean {
		s.server.Close()
	}
	up.Wait()
	return clean
}

// greet answers the login.
func (s *session) greet() {
	code := ""
	if len(s.link.caps) > 0 {
		code = "[CAPABILITY " + strings.Join(shown(s.link.caps, s.rules.off), " ") + "] "
	} else if s.link.code != "" {
		code = "[" + s.link.code + "] "
	}
	text := s.link.text
	if text == "" {
		text = "Logged in."
	}
	s.back.WriteString(s.tag + " OK " + code + text + "\r\n")
}

// up passes on what the client sends.
func (s *session) up() {
	err := s.commands()
	switch {
	case err == nil: // LOGOUT: down knows what is left to do
		return
	case errors.Is(err, handoff.ErrEnded):
		s.part("The session was ended.")
	case isTimeout(err) || s.front.ctx.Err() != nil:
		s.part("The server is shutting down.")
	}
	s.mu.Lock()
	s.spoiled = true
	waits := s.open > 0 && s.parting == ""
	s.mu.Unlock()
	half, can := s.link.nc.(interface{ CloseWrite() error })
	if waits && can && s.toward.Flush() == nil && half.CloseWrite() == nil {
		// Who sends commands and then no more may still want the answers.
		s.server.SetReadDeadline(time.Now().Add(s.front.patience()))
		return
	}
	s.server.Close()
}

var errGone = errors.New("the client has gone")

// commands reads commands up to LOGOUT, which is nil.
func (s *session) commands() error {
	idle := false
	for {
		s.in.begin()
		piece, end, err := s.in.next()
		if err != nil {
			return err
		}
		if idle && bytes.EqualFold(bytes.TrimRight(piece, "\r\n"), []byte("DONE")) {
			idle = false
			s.toward.Write(piece)
			if err := s.flush(); err != nil {
				return err
			}
			continue
		}
		if idle {
			s.interrupted()
		}
		tag, word, e, ok := parseCommand(piece)
		_, _, more := s.in.literal()
		if !ok || e == veils && (more || !end) || s.barred(word, piece[min(len(tag)+1+len(word), len(piece)):]) {
			e = refused
		}
		if e == leaves && s.leave(tag) {
			return nil
		}
		idle = e == idles
		piece = s.begun(piece, tag, word, e, ok)
		if err := s.rest(piece, end); err != nil {
			return err
		}
		if e != veils {
			continue
		}
		if veiled, err := s.comes(); err != nil {
			return err
		} else if veiled {
			return s.veil()
		}
	}
}

// interrupted is a line that is not DONE after IDLE: a command if the server has
// answered, otherwise taken by it for an end of IDLE that is none, with no answer of its own.
func (s *session) interrupted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoiled = s.spoiled || s.open > 0
}

// barred tells whether a command is of a capability that is switched off; rest is what
// is there of what follows its word.
func (s *session) barred(word string, rest []byte) bool {
	if len(s.rules.off) == 0 {
		return false
	}
	line, whole := bytes.CutSuffix(rest, []byte("\n"))
	switch words := strings.Fields(strings.ToUpper(string(line))); {
	case word != "UID" && word != "ENABLE":
	case word == "ENABLE":
		return s.rules.barred[word] || !whole || slices.ContainsFunc(words, func(c string) bool { return contains(s.rules.off, c) })
	case len(words) < 2 && !whole:
		return true // of a tag that is as long as the line may be: nobody can tell
	case len(words) > 0:
		word += " " + words[0]
	}
	return s.rules.barred[word]
}

// begun notes what a command will leave behind, and gives it as it is passed on.
func (s *session) begun(piece []byte, tag, word string, e effect, ok bool) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		s.spoiled = true
		none, answered := defused(piece)
		if answered {
			s.open++ // or its answer would pass for that of one which waits with a literal
		}
		return none
	}
	s.open++
	switch e {
	case spoils:
		s.spoiled = true
	case selects:
		s.chosen, s.closed = true, false
	case deselect:
		s.closed = true
	case notifies:
		s.notify = true
	case idles:
		s.idling++
	case veils:
		s.spoiled, s.waits = true, toVeil
	case refused:
		return renamed(piece, tag, word)
	}
	return piece
}

// rest passes on a command of which piece is the beginning, with its literals.
func (s *session) rest(piece []byte, end bool) error {
	var err error
	for {
		for {
			if enables(piece) || enables(s.in.seam) {
				s.spoil()
			}
			s.toward.Write(piece)
			if end {
				break
			}
			if piece, end, err = s.in.next(); err != nil {
				return err
			}
		}
		n, waits, ok := s.in.literal()
		if !ok {
			return s.flush()
		}
		if waits {
			s.mu.Lock()
			s.waits = toGoOn
			s.mu.Unlock()
			if taken, err := s.comes(); err != nil || !taken {
				return err
			}
		}
		if err := pass(s.toward, s.in.br, n); err != nil {
			return err
		}
		s.in.begin()
		if piece, end, err = s.in.next(); err != nil {
			return err
		}
	}
}

func (s *session) spoil() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoiled = true
}

// flush sends what is held back once the client has no more to say for now.
func (s *session) flush() error {
	if s.in.br.Buffered() > 0 {
		return nil
	}
	return s.toward.Flush()
}

// comes tells whether what the client waits for has come, once it sends more. Where it
// has sent that without waiting, the server has a while to say so.
func (s *session) comes() (bool, error) {
	if err := s.toward.Flush(); err != nil {
		return false, err
	}
	if _, err := s.in.br.Peek(1); err != nil {
		return false, err
	}
	late := time.NewTimer(s.front.patience())
	defer late.Stop()
	select {
	case ok := <-s.verdict:
		return ok, nil
	case <-s.ended:
		return false, errGone
	case <-late.C:
		s.part("The server behind this one does not answer.")
		return false, os.ErrDeadlineExceeded
	}
}

// veil copies what cannot be read along.
func (s *session) veil() error {
	if err := s.toward.Flush(); err != nil {
		return err
	}
	if _, err := s.in.br.WriteTo(s.server); err != nil {
		return err
	}
	return errGone
}

// leave begins the end of a session. A link that cannot be kept hears LOGOUT itself,
// and false is returned; the others are asked to undo what was done.
func (s *session) leave(tag string) bool {
	s.mu.Lock()
	if s.spoiled || !s.front.keeps() {
		s.spoiled = true
		s.mu.Unlock()
		return false
	}
	patience := s.front.limits().Patience
	if s.open > 0 {
		patience = s.front.patience()
	}
	s.server.SetReadDeadline(time.Now().Add(patience))
	s.logout = tag
	var text strings.Builder
	for _, command := range s.undoing() {
		tag := s.link.tag()
		s.undo = append(s.undo, step{tag, command.ok})
		text.WriteString(tag + " " + command.text + "\r\n")
	}
	s.mu.Unlock()
	s.toward.WriteString(text.String())
	s.toward.Flush() // an error shows where the answer is missing
	s.mu.Lock()
	defer s.mu.Unlock()
	s.depart()
	return true
}

// undoing is the commands that bring a link back to what it was after the login,
// and whether they are to succeed. CLOSE is none of them: it expunges. EXAMINE of what
// is not there leaves nothing selected (RFC 3501 §6.3.1), and CHECK succeeds only while
// something is, and so shows that nothing is.
func (s *session) undoing() []undoing {
	check := undoing{"CHECK", false}
	var all []undoing
	switch {
	case !s.chosen:
	case s.closed:
		all = append(all, check)
	case s.link.has("UNSELECT"):
		all = append(all, undoing{"UNSELECT", true})
	default:
		all = append(all, undoing{"EXAMINE " + quote(s.link.mark), false}, check)
	}
	if s.notify {
		all = append(all, undoing{"NOTIFY NONE", true})
	}
	if len(all) == 0 {
		all = append(all, undoing{"NOOP", true})
	}
	return all
}

// undoing is a command for that, and whether it is to succeed.
type undoing struct {
	text string
	ok   bool
}

// depart gives the client its last answer, as soon as all others have passed. mu is
// held.
func (s *session) depart() {
	if s.logout == "" || s.told || s.open > 0 || !s.between {
		return
	}
	s.dismiss()
}

// dismiss is the answer to LOGOUT. mu is held.
func (s *session) dismiss() {
	s.back.WriteString("* BYE Good bye.\r\n" + s.logout + " OK Done.\r\n")
	s.back.Flush()
	s.told = true
	s.client.Close()
}

// part ends a session from outside, with a word to the client.
func (s *session) part(word string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parting == "" {
		s.parting = word
	}
	s.client.SetReadDeadline(time.Unix(1, 0)) // which up sees
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

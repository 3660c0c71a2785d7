package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// Session is a session of a user with this host's daemon, for what go-imap's client
// has no words for. The worker at its other end runs as the user: what it says is
// bounded, and means nothing beyond that user's mail. It is for one goroutine, beside awake.
type Session struct {
	c    net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	tag  int
	stop func() bool
	busy sync.Mutex // a message is on its way, or awake at work

	validity uint32
}

// The bounds of what the daemon says.
const (
	maxLine        = 1 << 20 // octets of a line
	maxLines       = 10_000  // of an answer
	sessionTimeout = 5 * time.Minute
)

// Begin takes over a session that the daemon has begun, with its greeting still to
// be read. It is closed when ctx ends.
func Begin(ctx context.Context, c net.Conn) (*Session, error) {
	s := &Session{c: c, r: bufio.NewReaderSize(c, 4<<10), w: bufio.NewWriterSize(c, 64<<10)}
	s.stop = context.AfterFunc(ctx, func() { c.Close() })
	s.c.SetDeadline(time.Now().Add(sessionTimeout))
	line, err := s.line()
	if err == nil && !strings.HasPrefix(line, "* OK") && !strings.HasPrefix(line, "* PREAUTH") {
		err = fmt.Errorf("the daemon says %q", line)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends it.
func (s *Session) Close() {
	s.stop()
	s.c.Close()
}

// spell spells a mailbox's name as a command has it (RFC 3501 §5.1.3), however long: the
// daemon has names on disk as they are. It needs no prefix, whatever that of the namespace
// is: the daemon knows names with and without.
func spell(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(maildir.EncodeUTF7(name)) + `"`
}

// Open selects a mailbox, which is not changed by that if it is read-only.
func (s *Session) Open(mailbox string, readOnly bool) error {
	verb := "SELECT"
	if readOnly {
		verb = "EXAMINE"
	}
	lines, err := s.Command("%s %s", verb, spell(mailbox))
	for _, line := range lines {
		fmt.Sscanf(line, "* OK [UIDVALIDITY %d]", &s.validity)
	}
	return err
}

// UIDValidity is that of the mailbox which was opened last.
func (s *Session) UIDValidity() uint32 { return s.validity }

// Move moves messages of the selected mailbox, by UID, to another one, which is made
// if it is not there.
func (s *Session) Move(uids, mailbox string) error {
	name := spell(mailbox)
	_, err := s.Command("UID MOVE %s %s", uids, name)
	var no *imap.Error
	if errors.As(err, &no) && no.Code == imap.ResponseCodeTryCreate {
		if _, err := s.Command("CREATE %s", name); err != nil {
			return err
		}
		_, err = s.Command("UID MOVE %s %s", uids, name)
	}
	return err
}

// Rename renames a mailbox and those below it.
func (s *Session) Rename(from, to string) error {
	_, err := s.Command("RENAME %s %s", spell(from), spell(to))
	return err
}

// Count tells how many messages are in a mailbox.
func (s *Session) Count(mailbox string) (n int, err error) {
	lines, err := s.Command("STATUS %s (MESSAGES)", spell(mailbox))
	for _, line := range lines {
		if i := strings.LastIndex(line, "(MESSAGES "); i >= 0 {
			n, _ = strconv.Atoi(strings.TrimSuffix(line[i+len("(MESSAGES "):], ")"))
		}
	}
	return n, err
}

// WithUse names the mailboxes with a special use, without the namespace's prefix.
func (s *Session) WithUse(prefix string, use imap.MailboxAttr) (names []string, err error) {
	lines, err := s.Command(`LIST (SPECIAL-USE) "" "*"`) // RFC 6154 §5.1
	for _, line := range lines {
		attrs, name, ok := strings.Cut(strings.TrimPrefix(line, "* LIST ("), `) "." `)
		if !ok || !slices.Contains(strings.Fields(attrs), string(use)) {
			continue
		}
		if quoted := strings.TrimPrefix(name, `"`); quoted != name {
			name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(quoted, `"`))
		}
		if name, err := maildir.DecodeUTF7(name); err == nil {
			names = append(names, strings.TrimPrefix(name, prefix))
		}
	}
	return names, err
}

// Command gives the untagged responses to a command. A NO or BAD is an *imap.Error.
func (s *Session) Command(format string, args ...any) (untagged []string, err error) {
	s.begin(format, args...)
	untagged, _, err = s.answer()
	return untagged, err
}

// begin writes the start of a command, behind a tag of its own.
func (s *Session) begin(format string, args ...any) {
	s.c.SetDeadline(time.Now().Add(sessionTimeout))
	s.tag++
	fmt.Fprintf(s.w, "a%d "+format, append([]any{s.tag}, args...)...)
}

// answer ends a command and reads what it is answered (RFC 9051 §7.1): the code of
// the tagged response, and what came before it, but for EXPUNGE: each message that goes
// has one, and nobody here counts by sequence numbers.
func (s *Session) answer() (untagged []string, code string, err error) {
	s.w.WriteString("\r\n")
	if err := s.w.Flush(); err != nil {
		return nil, "", err
	}
	tag := "a" + strconv.Itoa(s.tag) + " "
	for {
		line, err := s.line()
		switch {
		case errors.Is(err, io.EOF):
			return nil, "", errors.New("the daemon has ended the session")
		case err != nil:
			return nil, "", err
		case strings.HasPrefix(line, "* BYE"):
			return nil, "", fmt.Errorf("the daemon ends the session: %s", strings.TrimPrefix(line, "* BYE "))
		}
		rest, tagged := strings.CutPrefix(line, tag)
		if !tagged {
			s.c.SetDeadline(time.Now().Add(sessionTimeout)) // it is at work
			if strings.HasPrefix(line, "* ") && strings.HasSuffix(line, " EXPUNGE") {
				continue
			}
			if untagged = append(untagged, line); len(untagged) > maxLines {
				return nil, "", fmt.Errorf("the daemon answers with more than %d lines", maxLines)
			}
			continue
		}
		status, text, _ := strings.Cut(rest, " ")
		if after, ok := strings.CutPrefix(text, "["); ok {
			code, text, _ = strings.Cut(after, "]")
			text = strings.TrimSpace(text)
		}
		if status == "OK" {
			return untagged, code, nil
		}
		return untagged, code, &imap.Error{Type: imap.StatusResponseType(status), Code: imap.ResponseCode(code), Text: text}
	}
}

func (s *Session) line() (string, error) {
	var b strings.Builder
	for {
		piece, more, err := s.r.ReadLine()
		if err != nil {
			return "", err
		}
		if b.Write(piece); b.Len() > maxLine {
			return "", fmt.Errorf("the daemon sends a line of more than %d octets", maxLine)
		}
		if !more {
			return b.String(), nil
		}
	}
}

// letter is a message on its way.
type letter struct {
	Entry
	*body
	flags string // that it is brought with
}

// bring has messages become ones of a mailbox: all of them or none (RFC 3502).
func (s *Session) bring(mailbox string, letters []letter) ([]imap.UID, error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.begin("APPEND %s", spell(mailbox))
	for _, l := range letters {
		fmt.Fprintf(s.w, " (%s)", l.flags)
		if l.Date != NoDate {
			fmt.Fprintf(s.w, " \"%s\"", time.Unix(l.Date, 0).UTC().Format("_2-Jan-2006 15:04:05 -0700"))
		}
		literal8 := ""
		if l.binary {
			literal8 = "~"
		}
		fmt.Fprintf(s.w, " %s{%d+}\r\n", literal8, l.size)
		if err := l.writeTo(s.w); err != nil {
			return nil, err
		}
		s.c.SetDeadline(time.Now().Add(sessionTimeout))
	}
	_, code, err := s.answer()
	if err != nil {
		return nil, err
	}
	return appended(code, len(letters))
}

// awake has the daemon hear of a session that nobody uses.
func (s *Session) awake() {
	if s.busy.TryLock() {
		defer s.busy.Unlock()
		s.Command("NOOP")
	}
}

// appended reads APPENDUID, of so many messages (RFC 4315 §3).
func appended(code string, n int) ([]imap.UID, error) {
	f := strings.Fields(code)
	if len(f) != 3 || f[0] != "APPENDUID" {
		return nil, fmt.Errorf("the daemon does not say which UIDs the messages have: %q", code)
	}
	var uids []imap.UID
	for _, part := range strings.Split(f[2], ",") {
		from, to, several := strings.Cut(part, ":")
		first, err := strconv.ParseUint(from, 10, 32)
		last := first
		if err == nil && several {
			last, err = strconv.ParseUint(to, 10, 32)
		}
		if err != nil || last < first || last-first >= uint64(n) {
			return nil, fmt.Errorf("the daemon gives the UIDs %q", code)
		}
		for u := first; u <= last; u++ {
			uids = append(uids, imap.UID(u))
		}
	}
	if len(uids) != n {
		return nil, fmt.Errorf("the daemon gives %d UIDs for %d messages", len(uids), n)
	}
	return uids, nil
}

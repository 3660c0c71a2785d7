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
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/maildir"
)

// Off is the capabilities that the sessions of a Target must not have: go-imap's
// client spells names by IMAP4rev2 wherever that is offered, and "&" in another way
// than RFC 9051 does.
var Off = []string{"IMAP4REV2"}

// Target is the account here: sessions of its user with the daemon, as the daemon
// has begun them, each with its greeting still to be read.
type Target struct {
	Prefix string // of the personal namespace: "" or "INBOX."

	client *imapclient.Client // for all but messages
	append []*appender
}

// NewTarget makes a target of at least two sessions, which are its own from then
// on.
func NewTarget(prefix string, sessions []net.Conn) (*Target, error) {
	if len(sessions) < 2 {
		return nil, errors.New("a target needs two sessions")
	}
	t := &Target{Prefix: prefix, client: imapclient.New(sessions[0], nil)}
	if err := t.client.WaitGreeting(); err != nil {
		return nil, fmt.Errorf("begin a session here: %w", err)
	}
	for _, c := range sessions[1:] {
		a, err := newAppender(c)
		if err != nil {
			return nil, fmt.Errorf("begin a session here: %w", err)
		}
		t.append = append(t.append, a)
	}
	return t, nil
}

// Close ends the sessions.
func (t *Target) Close() {
	t.client.Close()
	for _, a := range t.append {
		a.c.Close()
	}
}

// full is a mailbox's name as the daemon has it.
func (t *Target) full(name string) string {
	if name == "INBOX" {
		return name
	}
	return t.Prefix + name
}

// uses gives our mailboxes by special use, without the prefix.
func (t *Target) uses() (map[imap.MailboxAttr]string, error) {
	list, err := t.client.List("", "*", &imap.ListOptions{ReturnSpecialUse: true}).Collect()
	if err != nil {
		return nil, fmt.Errorf("list the mailboxes here: %w", err)
	}
	uses := map[imap.MailboxAttr]string{}
	for _, l := range list {
		for _, a := range l.Attrs {
			if slices.Contains(specialUses, a) {
				uses[a] = strings.TrimPrefix(l.Mailbox, t.Prefix)
			}
		}
	}
	return uses, nil
}

// specialUses are those that say where clients put something (RFC 6154 §2).
var specialUses = []imap.MailboxAttr{imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash}

// ensure makes a mailbox unless it is there, and says where its UIDs stand.
func (t *Target) ensure(name string, subscribe bool) (validity uint32, next imap.UID, err error) {
	status := func() (*imap.StatusData, error) {
		return t.client.Status(t.full(name), &imap.StatusOptions{UIDNext: true, UIDValidity: true}).Wait()
	}
	st, err := status()
	if err != nil {
		if err := t.client.Create(t.full(name), nil).Wait(); err != nil {
			return 0, 0, fmt.Errorf("make the mailbox %s: %w", name, err)
		}
		if subscribe {
			if err := t.client.Subscribe(t.full(name)).Wait(); err != nil {
				return 0, 0, fmt.Errorf("subscribe to %s: %w", name, err)
			}
		}
		st, err = status()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look at the mailbox %s: %w", name, err)
	}
	return st.UIDValidity, st.UIDNext, nil
}

// messages gives what is told of messages of a mailbox, which stays selected.
func (t *Target) messages(name string, uids imap.UIDSet, o *imap.FetchOptions, each func(*imapclient.FetchMessageBuffer)) error {
	if _, err := t.client.Select(t.full(name), &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		return fmt.Errorf("open the mailbox %s: %w", name, err)
	}
	cmd := t.client.Fetch(uids, o)
	defer cmd.Close()
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		b, err := m.Collect()
		if err != nil {
			return fmt.Errorf("read the mailbox %s: %w", name, err)
		}
		each(b)
	}
	return cmd.Close()
}

// letter is a message on its way.
type letter struct {
	Entry
	*body
}

// appender is a session over which messages come in.
type appender struct {
	c   net.Conn
	r   *bufio.Reader
	w   *bufio.Writer
	tag int
}

func newAppender(c net.Conn) (*appender, error) {
	a := &appender{c: c, r: bufio.NewReader(c), w: bufio.NewWriterSize(c, 64<<10)}
	line, err := a.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(line, "* OK") && !strings.HasPrefix(line, "* PREAUTH") {
		return nil, fmt.Errorf("the daemon said %q", strings.TrimSpace(line))
	}
	return a, nil
}

// wireName spells a mailbox's name for a session without IMAP4rev2, which is how
// Courier spells it on disk (RFC 3501 §5.1.3).
func wireName(name string) (string, error) {
	if name == "INBOX" {
		return name, nil
	}
	dir, err := maildir.EncodeName(name, maildir.ModifiedUTF7)
	return strings.TrimPrefix(dir, "."), err
}

// refusal is a NO or BAD of the daemon.
type refusal struct{ code, text string }

func (r *refusal) Error() string {
	if r.code != "" {
		return fmt.Sprintf("%s [%s]", r.text, r.code)
	}
	return r.text
}

// appendTimeout is what the daemon has for an answer to messages that it has.
const appendTimeout = 5 * time.Minute

// bring has messages become ones of a mailbox: all of them or none (RFC 3502).
func (a *appender) bring(ctx context.Context, mailbox string, letters []letter) ([]imap.UID, error) {
	defer context.AfterFunc(ctx, func() { a.c.SetDeadline(time.Unix(1, 0)) })()
	a.c.SetDeadline(time.Now().Add(appendTimeout))
	name, err := wireName(mailbox)
	if err != nil {
		return nil, err
	}
	a.tag++
	tag := "a" + strconv.Itoa(a.tag)
	fmt.Fprintf(a.w, "%s APPEND {%d+}\r\n%s", tag, len(name), name)
	for _, l := range letters {
		fmt.Fprintf(a.w, " (%s)", l.Flags)
		if l.Date != 0 {
			fmt.Fprintf(a.w, " \"%s\"", time.Unix(l.Date, 0).UTC().Format("_2-Jan-2006 15:04:05 -0700"))
		}
		literal8 := ""
		if l.binary {
			literal8 = "~"
		}
		fmt.Fprintf(a.w, " %s{%d+}\r\n", literal8, l.size)
		if err := l.writeTo(a.w); err != nil {
			return nil, err
		}
		a.c.SetDeadline(time.Now().Add(appendTimeout))
	}
	a.w.WriteString("\r\n")
	if err := a.w.Flush(); err != nil {
		return nil, a.fault(ctx, err)
	}
	uids, err := a.answer(tag, len(letters))
	return uids, a.fault(ctx, err)
}

func (a *appender) fault(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the daemon has ended the session")
	}
	return err
}

// answer reads until the tagged response (RFC 9051 §7.1), with the UIDs of n
// messages (RFC 4315 §3).
func (a *appender) answer(tag string, n int) ([]imap.UID, error) {
	for {
		line, err := a.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "* BYE") {
			return nil, fmt.Errorf("the daemon ends the session: %s", strings.TrimPrefix(line, "* BYE "))
		}
		rest, ok := strings.CutPrefix(line, tag+" ")
		if !ok {
			continue
		}
		status, text, _ := strings.Cut(rest, " ")
		var code string
		if strings.HasPrefix(text, "[") {
			if c, after, ok := strings.Cut(text[1:], "]"); ok {
				code, text = c, strings.TrimSpace(after)
			}
		}
		if status != "OK" {
			return nil, &refusal{code, text}
		}
		return appended(code, n)
	}
}

// appended reads APPENDUID.
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

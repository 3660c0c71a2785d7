package transfer

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// The ways to reach an IMAP server.
const (
	TLSImplicit = "implicit" // RFC 8314 §3
	TLSStart    = "starttls"
	TLSNone     = "none"
)

// Server is an IMAP server that mail is brought from, and an account there.
type Server struct {
	Host     string
	Port     int
	TLS      string         // one of the ways
	Roots    *x509.CertPool // nil: the system's
	User     string
	Password string
	Silence  time.Duration // after which a server that owes an answer is given up; 0: five minutes
	// Connect gives a connection to Host and Port; nil: it is made by the network.
	Connect func(ctx context.Context) (net.Conn, error) `json:"-"`
}

// silence is long enough for a server that sorts a large mailbox first.
const silence = 5 * time.Minute

// Address is host:port.
func (s Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Open is an Opener.
func (s Server) Open(ctx context.Context) (Source, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := imapclient.New(conn, nil)
	src := &imapSource{c: c, conn: conn, stop: context.AfterFunc(ctx, func() { c.Close() })}
	if err := s.login(c); err != nil {
		err = src.failed(ctx, err)
		src.Close()
		return nil, err
	}
	c.Caps() // asked for once more after a login, if that did not tell
	return src, nil
}

// ended prefers the reason why ctx ended to what that did to a connection.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// connectTimeout is what a source has until TLS stands.
const connectTimeout = 30 * time.Second

func (s Server) connect(ctx context.Context) (*wire, error) {
	at := s.Address()
	connect := s.Connect
	if connect == nil {
		connect = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", at)
		}
	}
	nc, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	greeting := ""
	if s.TLS == TLSStart {
		stay := context.AfterFunc(ctx, func() { nc.Close() })
		err := startTLS(nc)
		if stay(); err != nil {
			nc.Close()
			return nil, fmt.Errorf("begin TLS with %s: %w", at, ended(ctx, patience(err)))
		}
		greeting = "* OK TLS\r\n" // there is no other behind STARTTLS
	}
	if s.TLS != TLSNone {
		tc := tls.Client(nc, &tls.Config{ServerName: s.Host, RootCAs: s.Roots, NextProtos: []string{"imap"}, MinVersion: tls.VersionTLS12})
		handshake, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if err := tc.HandshakeContext(handshake); err != nil {
			nc.Close()
			return nil, fmt.Errorf("begin TLS with %s: %w", at, ended(ctx, err))
		}
		nc = tc
	}
	return newWire(nc, greeting, cmp.Or(s.Silence, silence)), nil
}

// startTLS has a server begin TLS (RFC 9051 §6.2.1). Not a word that it has said
// before counts, and it may say none behind its answer: anybody could.
func startTLS(nc net.Conn) error {
	nc.SetDeadline(time.Now().Add(connectTimeout))
	defer nc.SetDeadline(time.Time{})
	r := bufio.NewReaderSize(nc, 4<<10)
	greeting, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(greeting), "* OK") {
		return fmt.Errorf("the server says %q", strings.TrimSpace(string(greeting)))
	}
	if _, err := io.WriteString(nc, "s STARTTLS\r\n"); err != nil {
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(string(line), "* "):
			continue
		case !strings.HasPrefix(string(line), "s OK"):
			return fmt.Errorf("the server says %q", strings.TrimSpace(string(line)))
		case r.Buffered() > 0:
			return errors.New("the server says something between its answer to STARTTLS and TLS")
		}
		return nil
	}
}

func (s Server) login(c *imapclient.Client) error {
	if err := c.WaitGreeting(); err != nil {
		return patience(fmt.Errorf("greeting of %s: %w", s.Host, err))
	}
	caps := c.Caps()
	var err error
	if caps.Has(imap.CapLoginDisabled) && !caps.Has(imap.AuthCap("PLAIN")) {
		return fmt.Errorf("%s takes no password on this connection", s.Host)
	}
	if caps.Has(imap.AuthCap("PLAIN")) {
		err = c.Authenticate(sasl.NewPlainClient("", s.User, s.Password))
	} else {
		err = c.Login(s.User, s.Password).Wait()
	}
	if err != nil {
		return patience(fmt.Errorf("log in to %s as %q: %w", s.Host, s.User, err))
	}
	return nil
}

// patience marks the errors after which one should come back later (RFC 5530 §3,
// and what servers without its codes say).
func patience(err error) error {
	var e *imap.Error
	if !errors.As(err, &e) {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
		return err
	}
	text := strings.ToLower(e.Text)
	if e.Type != imap.StatusResponseTypeBye && !slices.Contains(busyCodes, e.Code) && !slices.ContainsFunc(busyWords, func(w string) bool { return strings.Contains(text, w) }) {
		return err
	}
	var later laterError
	if m := backoff.FindStringSubmatch(text); m != nil {
		ms, _ := strconv.Atoi(m[1])
		later.wait = min(time.Duration(ms)*time.Millisecond, longestPause)
	}
	later.error = fmt.Errorf("%w: %w", ErrBusy, err)
	return later
}

var (
	busyCodes = []imap.ResponseCode{imap.ResponseCodeLimit, imap.ResponseCodeInUse, imap.ResponseCodeUnavailable, "THROTTLED", "OVERQUOTA"}
	busyWords = []string{"too many", "rate limit", "throttl", "bandwidth limit", "try again"}
	// backoff is how Exchange says for how long it wants not to be asked.
	backoff = regexp.MustCompile(`suggested backoff time: (\d{1,9}) milliseconds`)
)

// imapSource is one connection.
type imapSource struct {
	c        *imapclient.Client
	conn     *wire
	stop     func() bool
	selected string
	messages int // in the mailbox that is selected
}

func (s *imapSource) Close() error {
	s.stop()
	return s.c.Close()
}

// failed is the error of a command, with what ended the connection where that was it:
// of that go-imap's client says the text alone.
func (s *imapSource) failed(ctx context.Context, err error) error {
	lost := s.conn.lost()
	var answer *imap.Error
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err == nil || lost == nil || errors.Is(err, lost), errors.As(err, &answer): // that it hung up after it does not change
		return err
	}
	return fmt.Errorf("%w: %w", err, lost)
}

// virtual are the mailboxes that show what is in others (RFC 6154 §2, RFC 8457).
var virtual = []imap.MailboxAttr{imap.MailboxAttrAll, imap.MailboxAttrFlagged, imap.MailboxAttrImportant}

func (s *imapSource) Mailboxes(ctx context.Context) ([]Mailbox, error) {
	list, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	var all []Mailbox
	var unknown []int // of which LIST has not told what is in them
	for _, l := range list {
		if slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(l.Attrs, imap.MailboxAttrNonExistent) {
			continue
		}
		m := Mailbox{Name: l.Mailbox, Levels: []string{l.Mailbox}, Subscribed: !s.extended() || slices.Contains(l.Attrs, imap.MailboxAttrSubscribed)}
		if l.Delim != 0 {
			m.Levels = strings.Split(l.Mailbox, string(l.Delim))
		}
		for _, a := range l.Attrs {
			if slices.Contains(specialUses, a) {
				m.Use = a
			}
			m.Virtual = m.Virtual || slices.Contains(virtual, a)
		}
		if l.Status == nil {
			unknown = append(unknown, len(all))
		} else {
			m.stand(l.Status)
		}
		all = append(all, m)
	}
	for some := range slices.Chunk(unknown, pipelined) {
		if err := s.look(ctx, all, some); err != nil {
			return nil, err
		}
	}
	for _, name := range s.conn.misspelt() {
		all = append(all, Mailbox{Name: name, Fault: "its name is not spelt as IMAP has it (RFC 3501 §5.1.3), so that it cannot be asked for"})
	}
	return all, nil
}

func (s *imapSource) extended() bool {
	return s.c.Caps().Has(imap.CapListExtended) || s.c.Caps().Has(imap.CapIMAP4rev2)
}

// list lists the mailboxes, with what is in them where the server tells that, too
// (RFC 5819).
func (s *imapSource) list(ctx context.Context) ([]*imap.ListData, error) {
	var o *imap.ListOptions
	if caps := s.c.Caps(); s.extended() {
		o = &imap.ListOptions{ReturnSubscribed: true, ReturnSpecialUse: caps.Has(imap.CapSpecialUse) || caps.Has(imap.CapIMAP4rev2)}
		if caps.Has(imap.CapListStatus) {
			o.ReturnStatus = standing
		}
	}
	cmd := s.c.List("", "*", o)
	defer cmd.Close()
	var list []*imap.ListData
	octets := 0
	for l := cmd.Next(); l != nil; l = cmd.Next() {
		octets += len(l.Mailbox) + nameCost
		for _, a := range l.Attrs {
			octets += len(a)
		}
		if octets > maxNames {
			s.conn.Close() // and not c, which waits until all that has come is taken
			return nil, fmt.Errorf("list the mailboxes: %w", errNames)
		}
		list = append(list, l)
	}
	if err := cmd.Close(); err != nil {
		return nil, s.failed(ctx, patience(fmt.Errorf("list the mailboxes: %w", err)))
	}
	return list, nil
}

// How many mailboxes a server may have: fifty thousand of the usual names.
const (
	maxNames = 8 << 20 // octets of all their names and attributes
	nameCost = 128     // that one takes beside its name
)

var errNames = errors.New("the server has more of them than are brought, which is some fifty thousand")

// standing is what is asked of a mailbox.
var standing = &imap.StatusOptions{NumMessages: true, UIDValidity: true}

// pipelined is how many mailboxes a server is asked about before it has answered for
// the first of them (RFC 9051 §5.5).
const pipelined = 64

// look says how many messages some mailboxes have. One that the server refuses to look
// at keeps nobody from the others.
func (s *imapSource) look(ctx context.Context, all []Mailbox, some []int) error {
	var asked []*imapclient.StatusCommand
	for _, i := range some {
		asked = append(asked, s.c.Status(all[i].Name, standing))
	}
	for n, i := range some {
		m := &all[i]
		st, err := asked[n].Wait()
		if err == nil {
			m.stand(st)
			continue
		}
		err = s.failed(ctx, patience(fmt.Errorf("look at it: %w", err)))
		var no *imap.Error
		if !errors.As(err, &no) || errors.Is(err, ErrBusy) || s.conn.lost() != nil {
			return err
		}
		m.Fault = err.Error()
	}
	return nil
}

// stand takes what the server says of a mailbox. One of which it does not say how many
// messages there are may have some.
func (m *Mailbox) stand(st *imap.StatusData) {
	m.Messages = 1
	if st.NumMessages != nil {
		m.Messages = int(*st.NumMessages)
	}
	m.Validity = strconv.FormatUint(uint64(st.UIDValidity), 10)
}

// open selects a mailbox without changing anything there.
func (s *imapSource) open(ctx context.Context, m Mailbox) error {
	if s.selected == m.Name {
		return nil
	}
	s.selected = ""
	data, err := s.c.Select(m.Name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return s.failed(ctx, patience(fmt.Errorf("open %s: %w", m.Name, err)))
	}
	if v := strconv.FormatUint(uint64(data.UIDValidity), 10); v != m.Validity {
		return fmt.Errorf("open %s: its UIDVALIDITY was %s and is now %s", m.Name, m.Validity, v)
	}
	s.selected, s.messages = m.Name, int(data.NumMessages)
	return nil
}

// What a server may tell of the messages of a mailbox, all of which is held.
const (
	someMessages = 10_000    // that may have come while it told of twice those that there were
	maxListed    = 5_000_000 // which take 400 MB
	maxFlags     = 64 << 20  // octets of flags, those that others have too once
)

func (s *imapSource) List(ctx context.Context, m Mailbox, each func(Entry)) error {
	if m.Messages == 0 {
		return nil
	}
	if err := s.open(ctx, m); err != nil {
		return err
	}
	if s.messages == 0 {
		return nil
	}
	cmd := s.c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true})
	defer cmd.Close()
	told, octets := 0, 0
	spelt := map[string]string{} // most messages have the flags of others
	var last imap.UID
	for d := cmd.Next(); d != nil; d = cmd.Next() {
		uid, e := readEntry(d)
		if uid == 0 || uid == last {
			continue // it tells of something else
		}
		last = uid
		if f, ok := spelt[e.Flags]; ok {
			e.Flags = f
		} else {
			spelt[e.Flags] = e.Flags
			octets += len(e.Flags)
		}
		if told++; told > min(2*s.messages+someMessages, maxListed) || octets > maxFlags {
			s.conn.Close() // as in list
			return fmt.Errorf("%w: list the messages of %s: there are %d, and it tells of more than %d, with %d octets of flags", ErrBusy, m.Name, s.messages, told-1, octets)
		}
		each(e)
	}
	if err := cmd.Close(); err != nil {
		return s.failed(ctx, patience(fmt.Errorf("list the messages of %s: %w", m.Name, err)))
	}
	if told < s.messages {
		// Some have been removed there meanwhile, or it does not tell of all.
		return fmt.Errorf("%w: list the messages of %s: there are %d, and it tells of %d", ErrBusy, m.Name, s.messages, told)
	}
	return nil
}

// readEntry reads a FETCH response to what List asks for. Its UID is 0 if it is another one: of
// flags that have changed, ahead of the answer, which go-imap's client then does not give.
func readEntry(d *imapclient.FetchMessageData) (uid imap.UID, e Entry) {
	e.Date = NoDate
	answer := false
	for item := d.Next(); item != nil; item = d.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = item.UID
		case imapclient.FetchItemDataFlags:
			e.Flags = flagList(item.Flags)
		case imapclient.FetchItemDataInternalDate:
			if answer = true; !item.Time.IsZero() {
				e.Date = item.Time.Unix()
			}
		case imapclient.FetchItemDataRFC822Size:
			e.Size, answer = item.Size, true
		}
	}
	if !answer {
		return 0, e
	}
	e.ID = strconv.FormatUint(uint64(uid), 10)
	return uid, e
}

func (s *imapSource) Fetch(ctx context.Context, m Mailbox, messages []Entry, take func(Entry, io.Reader) error) error {
	if err := s.open(ctx, m); err != nil {
		return err
	}
	var uids imap.UIDSet
	byUID := map[imap.UID]Entry{}
	for _, e := range messages {
		uid, err := strconv.ParseUint(e.ID, 10, 32)
		if err != nil {
			return fmt.Errorf("message %q of %s: %w", e.ID, m.Name, err)
		}
		uids.AddNum(imap.UID(uid))
		byUID[imap.UID(uid)] = e
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	cmd := s.c.Fetch(uids, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}})
	defer cmd.Close()
	for d := cmd.Next(); d != nil; d = cmd.Next() {
		broken, err := takeFetched(d, byUID, take)
		if err != nil {
			s.conn.Close() // there may be more of it under way than anybody wants to read; as in list
			if broken {
				<-s.c.Closed()
			}
			return s.failed(ctx, err)
		}
	}
	if err := cmd.Close(); err != nil {
		return s.failed(ctx, patience(fmt.Errorf("read messages of %s: %w", m.Name, err)))
	}
	return nil
}

// takeFetched hands on one FETCH response. A server may send flags of others in
// between, and a message twice. A message is broken if it could not be read: then the client
// has gone on reading the connection by itself, and until it has ended nobody else may.
func takeFetched(d *imapclient.FetchMessageData, byUID map[imap.UID]Entry, take func(Entry, io.Reader) error) (broken bool, err error) {
	var uid imap.UID
	for item := d.Next(); item != nil; item = d.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = item.UID
		case imapclient.FetchItemDataBodySection:
			e, ok := byUID[uid]
			if !ok || item.Literal == nil {
				continue
			}
			delete(byUID, uid)
			whole := &counted{r: item.Literal}
			if err := take(e, whole); err != nil {
				return whole.broken, err
			}
			if whole.n != item.Literal.Size() {
				return whole.broken, fmt.Errorf("message %s: %d octets of %d: %w", e.ID, whole.n, item.Literal.Size(), io.ErrUnexpectedEOF)
			}
		}
	}
	return false, nil
}

// counted counts what is read, and does not take the end of a connection for
// that of a message.
type counted struct {
	r      imap.LiteralReader
	n      int64
	broken bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if errors.Is(err, io.EOF) && c.n != c.r.Size() {
		err = io.ErrUnexpectedEOF
	}
	c.broken = c.broken || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

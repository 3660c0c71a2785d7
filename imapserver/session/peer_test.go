package session

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/store"
)

// server is an account that sessions are opened on.
type server struct {
	t       *testing.T
	account *store.Account
	maildir string
	log     syncBuffer
	params  Params
}

func newServer(t *testing.T) *server { return newServerWith(t, nil) }

// newServerWith makes one that works in the background too.
func newServerWith(t *testing.T, background chan struct{}) *server {
	t.Helper()
	s := &server{t: t, maildir: filepath.Join(t.TempDir(), "Maildir")}
	for _, dir := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.maildir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	account, err := store.Open(t.Context(), store.Options{Maildir: s.maildir, Log: log, Background: background})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := account.Close(); err != nil {
			t.Errorf("close the account: %v", err)
		}
	})
	s.account = account
	s.params = Params{Account: account, User: "alice", Log: log}
	return s
}

// deliver puts a message into new/ as a delivery agent does.
func (s *server) deliver(name, text string) {
	s.t.Helper()
	tmp := filepath.Join(s.maildir, "tmp", name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.maildir, "new", name)); err != nil {
		s.t.Fatal(err)
	}
}

// peer is the client's side of a session.
type peer struct {
	t            *testing.T
	conn         net.Conn
	br           *bufio.Reader
	stop, broken context.CancelFunc // because the server stops, or has a fault
	ended        chan error
}

// connect opens a session over a pair of sockets.
func (s *server) connect() *peer { return connect(s.t, s.params) }

// stalled are so many clients that ask for something of the first message, and take
// nothing of it once it comes.
func (s *server) stalled(n int, what string) (all []*peer) {
	for range n {
		p := s.connect()
		p.ok("SELECT INBOX")
		p.send("b FETCH 1 " + what + "\r\n")
		all = append(all, p)
	}
	for _, p := range all {
		p.br.Peek(1)
	}
	return all
}

// heap is how many octets are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func connect(t *testing.T, p Params) *peer {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, p, socket(t, fds[0]), socket(t, fds[1]))
}

func socket(t *testing.T, fd int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t *testing.T, p Params, ours, theirs net.Conn) *peer {
	t.Helper()
	c := begin(t, p, ours, theirs)
	t.Cleanup(func() {
		ours.Close()
		c.stop()
		c.wait()
	})
	return c
}

// begin is serve for who ends the session.
func begin(t *testing.T, p Params, ours, theirs net.Conn) *peer {
	ctx, stop := context.WithCancelCause(context.Background())
	c := &peer{t: t, conn: ours, br: bufio.NewReader(ours), stop: func() { stop(nil) }, broken: func() { stop(ErrBroken) }, ended: make(chan error, 1)}
	go func() { c.ended <- Serve(ctx, theirs, p) }()
	return c
}

// wait waits for the session's end and gives Serve's error.
func (c *peer) wait() error {
	c.t.Helper()
	select {
	case err := <-c.ended:
		c.ended <- err
		return err
	case <-time.After(30 * time.Second):
		c.t.Fatal("the session does not end")
		return nil
	}
}

func (c *peer) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

var literalHead = regexp.MustCompile(`\{(\d+)\}$`)

// line reads a response with its literals, without its end.
func (c *peer) line() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var b strings.Builder
	for {
		part, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatalf("read: %v (so far %q)", err, b.String()+part)
		}
		part, ok := strings.CutSuffix(part, "\r\n")
		if !ok {
			c.t.Fatalf("bare LF after %q", part)
		}
		b.WriteString(part)
		m := literalHead.FindStringSubmatch(part)
		if m == nil {
			return b.String()
		}
		n, _ := strconv.Atoi(m[1])
		b.WriteString("\r\n")
		if _, err := io.CopyN(&b, c.br, int64(n)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// do sends a command and gives its responses, one a line; the tag is "a".
func (c *peer) do(command string, args ...any) string {
	c.t.Helper()
	c.send("a " + fmt.Sprintf(command, args...) + "\r\n")
	return c.answer("a")
}

// answer reads up to a tagged response.
func (c *peer) answer(tag string) string {
	c.t.Helper()
	var lines []string
	for {
		line := c.line()
		lines = append(lines, line)
		if strings.HasPrefix(line, tag+" ") {
			return strings.Join(lines, "\n")
		}
	}
}

// ok does a command that must succeed and gives its untagged responses.
func (c *peer) ok(command string, args ...any) string {
	c.t.Helper()
	got := c.do(command, args...)
	untagged, tagged, _ := cutLast(got)
	if !strings.HasPrefix(tagged, "a OK ") {
		c.t.Fatalf("%.100s: %s", fmt.Sprintf(command, args...), tagged)
	}
	return untagged
}

func cutLast(s string) (before, last string, found bool) {
	if i := strings.LastIndex(s, "\na "); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return "", s, false
}

// want does a command and compares all of its responses. "#" in want stands for
// a number, "@" for anything quoted.
func (c *peer) want(command, want string) {
	c.t.Helper()
	compare(c.t, command, c.do("%s", command), want)
}

func compare(t *testing.T, command, got, want string) {
	t.Helper()
	expr := strings.ReplaceAll(regexp.QuoteMeta(want), "#", `\d+`)
	expr = strings.ReplaceAll(expr, `"@"`, `"[^"]*"`)
	expr = strings.ReplaceAll(expr, `\(@\)`, `\([^)]*\)`)
	if !regexp.MustCompile(`\A` + expr + `\z`).MatchString(got) {
		t.Errorf("%.100s: got\n%.2000s\nwant\n%s", command, got, want)
	}
}

// append puts a message into a mailbox.
func (c *peer) append(mailbox, args, text string) string {
	c.t.Helper()
	return c.do("APPEND %s %s{%d+}\r\n%s", mailbox, args, len(text), text)
}

// syncBuffer is a log that two goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve runs answer behind a socket and gives its path.
func serve(t *testing.T, answer func(context.Context, Request) Status) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "control")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, answer) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is still there")
		}
	})
	return path
}

func TestAsk(t *testing.T) {
	want := Status{Version: "v", PID: 7, Generation: "g", Sessions: 3, Error: "refused",
		Listeners: []Listener{{"imap", "127.0.0.1:143", "starttls"}},
		Bundles:   []Bundle{{"a", []string{"a.example"}, "00", "2030-01-01T00:00:00Z", "01"}}}
	var asked Request
	path := serve(t, func(_ context.Context, r Request) Status { asked = r; return want })
	got, err := Ask(t.Context(), path, Request{Verb: VerbReload})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if asked.Verb != VerbReload {
		t.Errorf("asked %q", asked.Verb)
	}
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
}

// TestAskManySessions: an answer has room for as many sessions as there may be.
func TestAskManySessions(t *testing.T) {
	var st Status
	for n := range 100_000 {
		st.Connected = append(st.Connected, Connection{ID: "5f3a90c1d2e4", User: fmt.Sprintf("user-%06d@mail.example.org", n), Listener: "imaps",
			Address: "2001:db8:1234:5678:9abc:def0:1234:5678", TLS: "1.3", Client: "Thunderbird 140.5.0", Began: time.Unix(1700000000, 123456789)})
	}
	path := serve(t, func(context.Context, Request) Status { return st })
	got, err := Ask(t.Context(), path, Request{Verb: VerbSessions})
	if err != nil || len(got.Connected) != len(st.Connected) {
		t.Errorf("%d sessions, %v", len(got.Connected), err)
	}
}

func TestAskNobody(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{stale, filepath.Join(dir, "none")} {
		if _, err := Ask(t.Context(), path, Request{Verb: VerbStatus}); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// A socket that was left behind does not keep a new daemon from starting.
	again, err := Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestListenRefuses(t *testing.T) {
	path := serve(t, func(context.Context, Request) Status { return Status{} })
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("second daemon: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil {
		t.Error("a file was replaced by the socket")
	}
}

// However a connection and the end of the context meet, the socket is gone when
// Serve has returned.
func TestServeEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	for range 300 {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- Serve(ctx, l, func(context.Context, Request) Status { return Status{} })
		}()
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Fatal("the socket is still there")
		}
	}
}

// full is a listener of a process that has no descriptor left, at first.
type full struct {
	net.Listener
	times atomic.Int32
}

func (f *full) Accept() (net.Conn, error) {
	if f.times.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return f.Listener.Accept()
}

// A process whose sessions have all descriptors answers once there are some again.
func TestServeCrowded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &full{Listener: l}
	f.times.Store(2)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, f, func(context.Context, Request) Status { return Status{PID: 7} }) }()
	if s, err := Ask(t.Context(), path, Request{Verb: VerbStatus}); err != nil || s.PID != 7 {
		t.Errorf("%+v, %v", s, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeIgnoresNonsense(t *testing.T) {
	path := serve(t, func(context.Context, Request) Status { return Status{PID: 1} })
	for _, nonsense := range []string{"GET / HTTP/1.1\r\n\r\n", "{", strings.Repeat("[", 5000)} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(nonsense))
		c.(*net.UnixConn).CloseWrite()
		if n, _ := c.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%.10q was answered", nonsense)
		}
		c.Close()
	}
	if _, err := Ask(t.Context(), path, Request{Verb: VerbStatus}); err != nil {
		t.Error(err)
	}
}

func TestAskGivesUp(t *testing.T) {
	path := serve(t, func(ctx context.Context, _ Request) Status { <-ctx.Done(); return Status{} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, path, Request{Verb: VerbStatus}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A daemon that hangs is named, and soon where it has nothing to look up. Who has given up
// themselves hears that.
func TestAskSilent(t *testing.T) {
	path := serve(t, func(ctx context.Context, _ Request) Status { <-ctx.Done(); return Status{} })
	want := fmt.Sprintf("the daemon does not answer within 0.05 s (process %d)", os.Getpid())
	if _, err := ask(t.Context(), path, Request{Verb: VerbStatus}, 50*time.Millisecond); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Ask(ctx, path, Request{Verb: VerbStatus}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for verb, most := range map[string]time.Duration{VerbStatus: 15 * time.Second, VerbSessions: 30 * time.Second, VerbReload: time.Minute, VerbSession: time.Minute, VerbExplainLogin: time.Minute} {
		if got := patience(Request{Verb: verb}); got > most || got < most/2 {
			t.Errorf("%s: %v", verb, got)
		}
	}
}

// A connection becomes a session of a user, and nothing of its first words is lost.
func TestSession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Server{
		Answer: func(_ context.Context, r Request) Status {
			if r.User != "alice" {
				return Status{Error: "no such user"}
			}
			return Status{}
		},
		Session: func(c *net.UnixConn, user string) { c.Write([]byte("* OK hello\r\n")) },
	}
	go s.Serve(t.Context(), l)
	c, err := Session(t.Context(), path, "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if text, err := io.ReadAll(c); err != nil || string(text) != "* OK hello\r\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := Session(t.Context(), path, "bob"); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Error(err)
	}
	if _, err := Session(t.Context(), path+"x", "bob"); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

// TestTraceInOrder: what a login and a worker send of one connection is told in the
// order in which it was said, and nothing is kept back at the end.
func TestTraceInOrder(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1700000000, 0).Add(time.Duration(ms) * time.Millisecond) }
	var sent bytes.Buffer
	for _, l := range []TraceLine{{At: at(30), Text: "OK logged in"}, {At: at(1), Text: "greeting"}, {At: at(20), Text: "LOGIN"}, {At: at(20), Text: "after it"}, {At: at(40), Text: "SELECT"}} {
		if err := json.NewEncoder(&sent).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	tell := func(l TraceLine) error { told = append(told, l.Text); return nil }
	err, ended := inOrder(&sent, tell)
	if want := []string{"greeting", "LOGIN", "after it", "OK logged in", "SELECT"}; err != nil || ended != io.EOF || !slices.Equal(told, want) {
		t.Errorf("%q, %v, %v", told, err, ended)
	}

	// Nothing waits for a line that may never come.
	r, w := io.Pipe()
	defer w.Close()
	go json.NewEncoder(w).Encode(TraceLine{At: at(9), Text: "alone"})
	enough := errors.New("enough")
	if err, _ := inOrder(r, func(TraceLine) error { return enough }); err != enough {
		t.Error(err)
	}
}

package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// discard is a connection that only takes.
type discard struct {
	net.Conn
	n int64
}

func (d *discard) Write(p []byte) (int, error)      { d.n += int64(len(p)); return len(p), nil }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }

// mailboxOf makes an account with n messages in INBOX, whose flags take turns.
func mailboxOf(b testing.TB, n int, flags ...string) *store.Account {
	maildir := filepath.Join(b.TempDir(), "Maildir")
	for _, dir := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(maildir, dir), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	text := "From: a@example.org\nSubject: x\n\nHi.\n"
	for i := range n {
		name := fmt.Sprintf("%d.M1P1.host,S=%d:2,%s", 1_700_000_000+i, len(text), flags[i%len(flags)])
		if err := os.WriteFile(filepath.Join(maildir, "cur", name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	a, err := store.Open(context.Background(), store.Options{Maildir: maildir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close() })
	return a
}

// benchmarkCommand executes a command, after others that prepare for it, with the
// answers going nowhere.
func benchmarkCommand(b *testing.B, account *store.Account, command string, before ...string) {
	p := Params{Account: account, Log: slog.New(slog.DiscardHandler), Limits: &wire.PostAuth}
	d := &discard{}
	c := newConn(d)
	s := &session{Params: p, conn: c, w: wire.NewWriter(c)}
	pr, pw := io.Pipe()
	defer pw.Close()
	s.r = wire.NewReader(pr, s.w, p.Limits)
	go func() {
		io.WriteString(pw, "a EXAMINE INBOX\r\n")
		for _, c := range before {
			io.WriteString(pw, "a "+c+"\r\n")
		}
		for range b.N {
			io.WriteString(pw, "a "+command+"\r\n")
		}
	}()
	do := func() {
		req, err := s.r.ReadCommand(s.state())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.execute(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
	for range 1 + len(before) {
		do()
	}
	d.n = 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		do()
	}
	b.SetBytes(d.n / int64(b.N))
}

func BenchmarkFetchFlags(b *testing.B) {
	benchmarkCommand(b, mailboxOf(b, 20000, "", "S", "RS"), "FETCH 1:* (UID FLAGS)")
}

func BenchmarkFetchFast(b *testing.B) {
	benchmarkCommand(b, mailboxOf(b, 2000, "", "S", "RS"), "FETCH 1:* FAST")
}

func BenchmarkFetchBody(b *testing.B) {
	benchmarkCommand(b, mailboxOf(b, 1000, "S"), "FETCH 1:* BODY.PEEK[]")
}

func BenchmarkFetchStructure(b *testing.B) {
	benchmarkCommand(b, mailboxOf(b, 1000, "S"), "FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
}

func BenchmarkSearchUnseen(b *testing.B) {
	benchmarkCommand(b, mailboxOf(b, 20000, "", "S", "RS"), "SEARCH UNSEEN")
}

func BenchmarkSelect(b *testing.B) {
	benchmarkCommand(b, mailboxOf(b, 20000, "S"), "EXAMINE INBOX")
}

// Of messages that the cache has.
func BenchmarkSearchSubject(b *testing.B) { benchmarkCached(b, "SEARCH SUBJECT nowhere") }
func BenchmarkSortDate(b *testing.B)      { benchmarkCached(b, "SORT (DATE) UTF-8 ALL") }
func BenchmarkThread(b *testing.B)        { benchmarkCached(b, "THREAD REFERENCES UTF-8 ALL") }

func benchmarkCached(b *testing.B, command string) {
	benchmarkCommand(b, mailboxOf(b, 20000, "S"), command, "FETCH 1:* ENVELOPE")
}

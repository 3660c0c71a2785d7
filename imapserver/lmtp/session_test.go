package lmtp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/deliver"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/oracle"
)

// memory is a Backend that keeps what it is given. Recipients that begin with
// "no" there are none of, those with "full" take nothing, and those with "broken" are
// not reached.
type memory struct {
	mu   sync.Mutex
	got  []string // "sender recipient text"
	open int
}

func (m *memory) Recipient(_ context.Context, address string) (Recipient, error) {
	if strings.HasPrefix(address, "no") {
		return nil, deliver.ErrUnknown
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	return &slot{m, address}, nil
}

type slot struct {
	m       *memory
	address string
}

func (s *slot) Deliver(_ context.Context, m Message) error {
	if strings.HasPrefix(s.address, "full") {
		return fmt.Errorf("deliver: %w", deliver.ErrFull)
	}
	if strings.HasPrefix(s.address, "broken") {
		return fmt.Errorf("hand over: %w", unix.EPIPE)
	}
	text, err := io.ReadAll(io.NewSectionReader(m.Text, 0, m.Octets))
	if err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.got = append(s.m.got, fmt.Sprintf("%s %s %s", m.Sender, s.address, text))
	return nil
}

func (s *slot) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.open--
}

// converse sends all of it, then says nothing more, and gives what was answered.
func converse(t testing.TB, m *memory, limits limit.LMTP, said string) string {
	t.Helper()
	client, conn, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := newServer(m)
	s.limits = limits
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(t.Context(), conn, "x")
	}()
	go func() {
		io.WriteString(client, said)
		client.CloseWrite()
	}()
	answered, _ := io.ReadAll(client)
	<-done
	if m.open != 0 {
		t.Errorf("%d recipients are left open after %.300q", m.open, said)
	}
	return string(answered)
}

// codes gives the first words of the replies.
func codes(answered string) string {
	var all []string
	for line := range strings.Lines(answered) {
		if len(line) < 4 || line[3] != '-' {
			all = append(all, strings.TrimSpace(line[:min(len(line), 3)]))
		}
	}
	return strings.Join(all, " ")
}

const hello = "LHLO mx.example\r\n"

func TestSession(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for _, row := range []struct{ name, said, codes, got string }{
		{"one", hello + "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n", "220 250 250 250 354 250 221", "a@b c@d Subject: x\r\n\r\nhi\r\n"},
		{"three recipients", hello + "MAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<nobody>\r\nRCPT TO:<full>\r\nRCPT TO:<a>\r\nDATA\r\nx\r\n.\r\n", "220 250 250 250 550 250 250 354 250 452 250", " a x\r\n| a x\r\n"},
		{"nobody", hello + "MAIL FROM:<>\r\nRCPT TO:<nobody>\r\nDATA\r\n", "220 250 250 550 503", ""},
		{"out of order", "MAIL FROM:<a>\r\nNOOP\r\n" + hello + "RCPT TO:<a>\r\nDATA\r\nMAIL FROM:<a>\r\nMAIL FROM:<a>\r\nRSET\r\nRCPT TO:<a>\r\n", "220 503 250 250 503 503 250 503 250 503", ""},
		{"SMTP", "HELO x\r\nEHLO x\r\nLHLO\r\nLHLO a b\r\nBDAT 1 LAST\r\n\r\n", "220 500 500 501 250 500 500", ""},
		{"params", hello + "MAIL FROM:<a> SIZE=10 BODY=8BITMIME SMTPUTF8\r\nRSET\r\nMAIL FROM:<a> SIZE=99999999\r\nMAIL FROM:<a> SIZE=x\r\nMAIL FROM:<a> BODY=BINARYMIME\r\nMAIL FROM:<a> RET=FULL\r\nMAIL FROM:<a>x\r\n", "220 250 250 250 552 501 501 555 501", ""},
		{"half", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n.\n.\r", "220 250 250 250 354", ""},
		{"nothing after DATA", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n.\r\n", "220 250 250 250 354 250", "a b "},
		{"dots", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n..\r\n...x\r\n.y\r\n.\r\n", "220 250 250 250 354 250", "a b .\r\n..x\r\ny\r\n"},
		{"octets", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n\x00\xff\r\r\n.\r\n", "220 250 250 250 354 250", "a b \x00\xff\r\r\n"},
		{"long lines", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n." + long + "\r\n" + long + "\r\n.\r\nNOOP\r\n", "220 250 250 250 354 250 250", "a b " + long + "\r\n" + long + "\r\n"},
		{"too long", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n" + long + long + long + long + "\r\n.\r\nNOOP\r\n", "220 250 250 250 250 354 552 552 250", ""},
		{"long command", hello + "MAIL FROM:<" + long + ">\r\nNOOP\r\n", "220 250 500", ""},
		{"bare LF", hello + "NOOP\nMAIL FROM:<a>\r\n", "220 250 500", ""},
		{"nonsense", strings.Repeat("x\r\n", 50), "220 500 500 500 500 421", ""},
		{"recipients", hello + "MAIL FROM:<a>\r\n" + strings.Repeat("RCPT TO:<b>\r\n", 5), "220 250 250 250 250 250 452 452", ""},
		{"NUL", hello + "MAIL FROM:<a\x00b>\r\nMAIL FROM:<a\tb>\r\nMAIL FROM:<a b>\r\nMAIL FROM:a\r\n", "220 250 501 501 501 501 421", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := &memory{}
			answered := converse(t, m, limit.LMTP{Message: 1 << 20, Recipients: 3, Bad: 3, Line: 4096, Patience: time.Minute, Delivery: time.Minute}, row.said)
			if got := codes(answered); got != row.codes {
				t.Errorf("answered %s, want %s\n%.2000s", got, row.codes, answered)
			}
			if got := strings.Join(m.got, "|"); got != row.got {
				t.Errorf("delivered %.300q, want %.300q", got, row.got)
			}
		})
	}
}

// TestSmuggling: nothing but CRLF, dot, CRLF ends a message, so that what another
// server took for a part of it is no command here.
func TestSmuggling(t *testing.T) {
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\r\n", "\r\n. \r\n", "\n\r.\n\r"} {
		inner := "MAIL FROM:<evil>\r\nRCPT TO:<victim>\r\nDATA\r\nevil\r\n"
		m := &memory{}
		answered := converse(t, m, limit.Default().LMTP, hello+"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nx"+end+inner+".\r\nQUIT\r\n")
		if codes(answered) != "220 250 250 250 354 250 221" || len(m.got) != 1 || !strings.Contains(m.got[0], "victim") {
			t.Errorf("%q: %s %q", end, codes(answered), m.got)
		}
	}
}

func TestParsePath(t *testing.T) {
	for said, want := range map[string]string{
		"<>": "", "<a@b>": "a@b", " <a@b> X=y  Z": "a@b", "<@x,@y:a@b>": "a@b", `<"a b"@c>`: "a b@c", `<"a\"\\>"@c>`: `a"\>@c`, "<é@ü>": "é@ü", "<a+b@c>": "a+b@c",
	} {
		if got, _, ok := parsePath(said); !ok || got != want {
			t.Errorf("%q: %q %v, not %q", said, got, ok, want)
		}
	}
	for _, said := range []string{"", "a", "<a", "<a>b", "<a b>", "<<a>", `<"a>`, "<a\r>", "<a\x7f>", "<\xff>", "<@x>", `<a"b">`, "<" + strings.Repeat("a", 600) + ">"} {
		if got, _, ok := parsePath(said); ok {
			t.Errorf("%q is an address: %q", said, got)
		}
	}
}

// TestPatience: whoever says nothing is seen off, and so is whoever is there when
// the service stops.
func TestPatience(t *testing.T) {
	for want, patience := range map[string]time.Duration{"421 4.4.2": time.Millisecond, "421 4.3.2": time.Hour} {
		for _, said := range []string{"", hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nhalf\r\n"} {
			client, server, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			m := &memory{}
			s := newServer(m)
			s.limits.Patience = patience
			go s.serve(ctx, server, "x")
			io.WriteString(client, said)
			if patience == time.Hour {
				stop()
			}
			answered, _ := io.ReadAll(client)
			if !strings.Contains(string(answered), want) || len(m.got) > 0 {
				t.Errorf("%q: answered %q", said, answered)
			}
			stop()
			client.Close()
		}
	}
}

// meddled is memory of which something is done before each delivery.
type meddled struct {
	memory
	before func(address string)
}

func (m *meddled) Recipient(_ context.Context, address string) (Recipient, error) {
	m.open++
	return &meddledSlot{slot{&m.memory, address}, m.before}, nil
}

type meddledSlot struct {
	slot
	before func(address string)
}

func (s *meddledSlot) Deliver(ctx context.Context, m Message) error {
	s.before(s.address)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.slot.Deliver(ctx, m)
}

// TestStopsAfterDelivery: what is being delivered when the service stops arrives and
// is acknowledged.
func TestStopsAfterDelivery(t *testing.T) {
	client, conn, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithCancel(t.Context())
	m := &meddled{before: func(string) { stop() }}
	go newServer(m).serve(ctx, conn, "x")
	io.WriteString(client, hello+"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n.\r\n")
	answered, _ := io.ReadAll(client)
	if got := codes(string(answered)); got != "220 250 250 250 354 250 421" || len(m.got) != 1 {
		t.Errorf("%s, %d messages", got, len(m.got))
	}
}

// TestFaultLogged: why a message was not delivered is in the log, unless the client
// was told all of it.
func TestFaultLogged(t *testing.T) {
	var log bytes.Buffer
	for address, said := range map[string]bool{"broken": true, "full": false} {
		client, conn, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		s := newServer(&memory{})
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		log.Reset()
		go func() {
			io.WriteString(client, hello+"MAIL FROM:<a>\r\nRCPT TO:<"+address+">\r\nDATA\r\nx\r\n.\r\n")
			client.CloseWrite()
		}()
		s.serve(t.Context(), conn, "x")
		if got := strings.Contains(log.String(), `id=x.1 to=broken err="hand over: broken pipe"`); got != said || !said && log.Len() > 0 {
			t.Errorf("%s: %s", address, log.String())
		}
	}
}

// TestAnswersAtOnce: who has the message is told of before another delivery ends.
func TestAnswersAtOnce(t *testing.T) {
	client, conn, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(10 * time.Second))
	released := make(chan struct{})
	m := &meddled{before: func(address string) {
		if address == "slow" {
			<-released
		}
	}}
	go newServer(m).serve(t.Context(), conn, "x")
	io.WriteString(client, hello+"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<slow>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
	answered := bufio.NewReader(client)
	for line := ""; line != "250 2.1.5 <b> has it\r\n"; {
		if line, err = answered.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(released)
	if rest, err := io.ReadAll(answered); codes(string(rest)) != "250 221" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

// TestSlowMessage: a message that takes its time is answered for each recipient,
// however many lines that are.
func TestSlowMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		m := &memory{}
		s := newServer(m)
		go s.serve(t.Context(), conn, "x")
		go func() {
			io.WriteString(client, hello+"MAIL FROM:<>\r\n"+strings.Repeat("RCPT TO:<"+strings.Repeat("a", 100)+">\r\n", 60)+"DATA\r\n")
			for range 3 {
				time.Sleep(s.limits.Patience * 2 / 3)
				io.WriteString(client, "x\r\n")
			}
			io.WriteString(client, ".\r\nQUIT\r\n")
		}()
		answered, _ := io.ReadAll(client)
		if got := strings.Count(string(answered), " has it\r\n"); got != 60 || len(m.got) != 60 {
			t.Errorf("%d answers, %d messages: %.300q", got, len(m.got), answered)
		}
	})
}

func pair() (client, server *net.UnixConn, err error) {
	client, f, err := handoff.StreamPair()
	if err == nil {
		server, err = handoff.Stream(f)
	}
	return client, server, err
}

func newServer(b Backend) *server {
	return &server{host: "host.example", limits: limit.Default().LMTP, backend: b, log: slog.New(slog.DiscardHandler)}
}

// FuzzSession: whatever a client says, the session ends, all that it answers are
// replies, and what it delivers is what a reader of another make finds.
func FuzzSession(f *testing.F) {
	f.Add([]byte(hello + "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<full>\r\nDATA\r\n..x\r\n\n.\n\r\r\n.\r\nRSET\r\nQUIT\r\n"))
	f.Add([]byte("LHLO x\r\nMAIL FROM:<@a:\"\\\"b\"@c> SIZE=3\r\nVRFY\r\nNOOP\r\nBDAT 3 LAST\r\nDATA x\r\n"))
	f.Add([]byte("lhlo x\r\nmail from:<>\r\nrcpt to:<no>\r\nrcpt to:<c>\r\ndata\r\n.\r\nx"))
	f.Fuzz(func(t *testing.T, said []byte) {
		m := &memory{}
		limits := limit.Default().LMTP
		limits.Message, limits.Bad = 100_000, 1000
		var answered string
		oracle.OnceCost(t, len(said)>>16, func() { answered = converse(t, m, limits, string(said)) })
		for line := range strings.Lines(answered) {
			if len(line) < 6 || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n\x00") || line[3] != ' ' && line[3] != '-' || strings.Trim(line[:3], "0123456789") != "" {
				t.Fatalf("%q is answered by %q", said, line)
			}
		}
		// RFC 5321 §4.5.2 by one replacement: a line begins after a CRLF.
		unstuffed := strings.ReplaceAll(string(said), "\r\n.", "\r\n")
		for _, got := range m.got {
			text := got[strings.Index(got, " ")+1:]
			if _, text, _ = strings.Cut(text, " "); !strings.Contains(unstuffed, text) {
				t.Fatalf("%q delivers %q", said, text)
			}
		}
	})
}

package handoff

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/oracle"
)

// pair makes both ends of a channel.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	a, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = NewConn(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// file makes a file with some text in it.
func file(t *testing.T, text string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMessages(t *testing.T) {
	open := Open{ID: "c0ffee", User: "Grüße", Tag: "a1", Remote: netip.MustParseAddr("2001:db8::1"), TLS: true, Stream: file(t, "stream")}
	beside, err := Seal([]byte(`{"neighbours":{"bob":"/m"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	mem, board, err := Share(1)
	if err != nil {
		t.Fatal(err)
	}
	defer board.Close()
	defer Unshare(mem)
	messages := []Message{
		&Hello{Listener: "imaps", Sockets: []*os.File{file(t, "socket")}},
		&Hello{Listener: "imaps", Sockets: []*os.File{file(t, "socket"), file(t, "another")}, Board: board},
		&Board{Listener: "imap", Memory: file(t, "board")},
		&Boards{Listeners: []string{"imap"}},
		&Visit{Stream: file(t, "stream")},
		&Settings{Serial: 1, Data: []byte(strings.Repeat("x", 3<<20))},
		&Settings{Serial: 2, Data: []byte{}},
		&Ready{Serial: 2, Error: "no"},
		&Commit{Serial: 3, Drop: true},
		&Mechanisms{Names: []string{"EXTERNAL"}},
		&Ask{Serial: 4, Credentials: Credentials{ID: "c0ffee", User: "Grüße", Password: "pw", Remote: open.Remote}},
		&Answer{Serial: 4, Verdict: Verdict{User: "Grüße", Ticket: "ticket"}},
		&Claim{Serial: 5, Ticket: "ticket", Tag: "a1", Token: []byte("token"), Stream: file(t, "stream")},
		&Opened{Serial: 5, Error: "no"},
		&Opened{Serial: 5, Worker: 6},
		&Hangs{Worker: 6},
		&Connect{Serial: 6, Server: "[2001:db8::1]:993"},
		&Connected{Serial: 6, Connection: file(t, "connection")},
		&Connected{Serial: 6, Error: "no"},
		&Abort{Serial: 6},
		&Query{Serial: 8, SelfTest: true, Users: true, User: "Grüße", ID: "c0ffee"},
		&State{Serial: 8, Sessions: map[string]int{"imap": 9}, Data: []byte("[]")},
		&End{Data: []byte(`["bob"]`)},
		&End{Session: "c0ffee"},
		&Session{Open: open, Serial: 9, UID: 1000, GID: 1001, Roots: []string{"/m"}, Maildir: "/m", Namespace: "INBOX.", Admin: "mailto:a@b.c", Comment: "ü", Beside: beside},
		&Look{UID: 1000, GID: 1001, User: "Grüße", ID: "c0ffee", Answer: file(t, "answer")},
		&Look{UID: 1000, GID: 1001, Follow: true, Answer: file(t, "answer")},
		&Doing{Session: []byte(`{"id":"c0ffee"}`)},
		&Hello{Metrics: true},
		&Scrape{Serial: 3},
		&Watch{User: "Grüße", Sink: file(t, "sink")},
		&Look{UID: 1000, GID: 1001, Trace: true, Bodies: true, Answer: file(t, "answer")},
		&Session{Open: open, Serial: 9, UID: 1000, GID: 1001, Maildir: "/m", Trace: file(t, "trace"), Bodies: true},
		&Session{Open: open, Serial: 9, UID: 1000, GID: 1001, Maildir: "/m", Trace: file(t, "trace"), Beside: beside},
		&Traced{Session: "c0ffee", At: time.Unix(1, 0).UTC(), Server: true, Text: "* OK", Lost: 3},
		&Told{Data: []byte("{}")},
		&Retire{UID: 1000, GID: 1001},
		&Idle{Sessions: 7},
		&Stop{},
		&Reach{Server: "mail.example.org:993"},
	}
	seen := map[string]bool{}
	a, b := pair(t)
	for _, sent := range messages {
		if err := a.Send(sent); err != nil {
			t.Fatalf("%T: %v", sent, err)
		}
		got, err := b.Receive()
		if err != nil {
			t.Fatalf("%T: %v", sent, err)
		}
		name, _ := kindOf(got)
		seen[name] = true
		sj, _ := json.Marshal(sent)
		gj, _ := json.Marshal(got)
		if reflect.TypeOf(sent) != reflect.TypeOf(got) || string(sj) != string(gj) {
			t.Errorf("sent %T %s, received %T %s", sent, sj, got, gj)
		}
		if p, q := sent.payload(), got.payload(); (p == nil) != (q == nil) || p != nil && string(*p) != string(*q) {
			t.Errorf("%T: another payload", sent)
		}
		if len(sent.files()) != len(got.files()) {
			t.Fatalf("%T: %d descriptors, not %d", sent, len(got.files()), len(sent.files()))
		}
		for i, f := range got.files() {
			if have, want := content(t, f), content(t, sent.files()[i]); have != want || sealed(f, seals) != sealed(sent.files()[i], seals) {
				t.Errorf("%T: descriptor %d is of %q, not %q", sent, i, have, want)
			}
			if n, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || n&unix.FD_CLOEXEC == 0 {
				t.Errorf("%T: a program that is started would inherit descriptor %d", sent, i)
			}
			f.Close()
		}
	}
	if len(seen) != len(kinds) {
		t.Errorf("%d kinds of %d are tested", len(seen), len(kinds))
	}
	a.Close()
	if _, err := b.Receive(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	if err := b.Send(&Stop{}); err == nil {
		t.Error("sent to nobody")
	}
}

// TestEmptyPayload spares each session of a user who shares nothing a file.
func TestEmptyPayload(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(&Session{Open: Open{Stream: file(t, "stream")}}); err != nil {
		t.Fatal(err)
	}
	_, files, err := b.read()
	if err != nil || len(files) != 1 {
		t.Errorf("%d descriptors, %v", len(files), err)
	}
	for _, f := range files {
		f.Close()
	}
}

// TestReceiveReuses reads each message into the same buffer.
func TestReceiveReuses(t *testing.T) {
	a, b := pair(t)
	var at [2]*byte
	for i := range at {
		if err := a.Send(&Idle{Sessions: 7}); err != nil {
			t.Fatal(err)
		}
		data, _, err := b.read()
		if err != nil {
			t.Fatal(err)
		}
		at[i] = &data[0]
	}
	if at[0] != at[1] {
		t.Error("another buffer")
	}
}

// raw sends a packet as a peer that does not keep to the rules would.
func raw(t *testing.T, c *Conn, text string, files ...*os.File) {
	t.Helper()
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.c.WriteMsgUnix([]byte(text), oob, nil); err != nil {
		t.Fatal(err)
	}
}

func TestReceiveRefuses(t *testing.T) {
	f := file(t, "no memory file")
	packet := func(kind, body, rest string) string {
		return fmt.Sprintf("%d %s%s\n%s", Version, kind, rest, body)
	}
	many := make([]*os.File, MaxFiles+10)
	for i := range many {
		many[i] = f
	}
	large := sparse(t, MaxPayload+1)
	before := openFiles(t)
	for name, tt := range map[string]struct {
		text  string
		files []*os.File
		want  string
	}{
		"no JSON":                   {packet("stop", "hello", ""), nil, "invalid character"},
		"two values":                {packet("stop", "{}", "") + "{}", nil, "more than one"},
		"another version":           {"99 stop\n{}", nil, "another version"},
		"no version":                {"stop\n{}", nil, "another version"},
		"the version before":        {`{"v":1,"kind":"stop","body":{}}`, nil, "another version"},
		"nothing but a line":        {packet("stop", "", "")[:6], nil, "EOF"},
		"unknown kind":              {packet("root", "{}", ""), []*os.File{f}, "unknown kind"},
		"unknown field":             {packet("stop", `{"x":1}`, ""), nil, "unknown field"},
		"more on its line":          {packet("stop", "{}", " x"), nil, "unknown kind"},
		"wrong type":                {packet("idle", `{"sessions":-1}`, ""), nil, "cannot unmarshal"},
		"descriptor too many":       {packet("stop", "{}", ""), []*os.File{f}, "1 descriptors instead of 0"},
		"descriptor missing":        {packet("claim", "{}", ""), nil, "0 descriptors instead of 1"},
		"two for one":               {packet("claim", "{}", ""), []*os.File{f, f}, "2 descriptors instead of 1"},
		"payload without a file":    {packet("settings", "{}", " payload"), nil, "payload"},
		"payload too many":          {packet("stop", "{}", " payload"), []*os.File{f}, "payload"},
		"payload is a file":         {packet("settings", "{}", " payload"), []*os.File{f}, "no sealed memory file"},
		"payload too large":         {packet("settings", "{}", " payload"), []*os.File{large}, "more than"},
		"a claim that names a user": {packet("claim", `{"user":"alice"}`, ""), []*os.File{f}, "unknown field"},
		"too long":                  {packet("stop", "{}", strings.Repeat(" ", MaxPacket)), []*os.File{f}, "more than"},
		"too many descriptors":      {packet("stop", "{}", ""), many, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			raw(t, a, tt.text, tt.files...)
			m, err := b.Receive()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v", m, err)
			}
			if strings.Contains(name, "version") && !errors.Is(err, ErrVersion) {
				t.Errorf("%v is not ErrVersion", err)
			}
		})
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

// sparse is a sealed memory file that takes no memory.
func sparse(t *testing.T, size int64) *os.File {
	t.Helper()
	n, err := unix.MemfdCreate("sparse", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(n), "sparse")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(n), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return f
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

// TestSendMarkup: what the settings may say fits into a packet, whatever the characters.
func TestSendMarkup(t *testing.T) {
	a, b := pair(t)
	note := strings.Repeat("<&>", 400)
	sent := &Session{Open: Open{User: "alice", Stream: file(t, "stream")}, Maildir: "/" + strings.Repeat("<", 4000), Admin: note, Comment: note}
	if err := a.Send(sent); err != nil {
		t.Fatal(err)
	}
	m, err := b.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if s := m.(*Session); s.Admin != note || s.Comment != note || s.Maildir != sent.Maildir {
		t.Errorf("received %+v", s)
	}
}

func TestSendRefuses(t *testing.T) {
	a, _ := pair(t)
	if err := a.Send(&Ready{Error: strings.Repeat("x", MaxPacket)}); err == nil {
		t.Error("a packet that is too large")
	}
	if err := a.Send(&Claim{}); err == nil {
		t.Error("a descriptor that is not there")
	}
	if err := a.Send(nil); err == nil {
		t.Error("no message")
	}
}

// TestBound: a payload that is longer than may be costs its receiver nothing, and whoever
// was started has none that is taken.
func TestBound(t *testing.T) {
	for _, row := range []struct {
		bound func(*Conn)
		taken bool
	}{
		{func(*Conn) {}, false}, {func(c *Conn) { c.Bound(3) }, false}, {func(c *Conn) { c.Bound(4) }, true},
	} {
		ours, theirs := pair(t)
		row.bound(ours)
		if err := theirs.Send(&State{Data: []byte("four")}); err != nil {
			t.Fatal(err)
		}
		if m, err := ours.Receive(); (err == nil) != row.taken {
			t.Errorf("%v %v", m, err)
		}
	}
}

// TestSealed holds a payload to what it was when it was sent.
func TestSealed(t *testing.T) {
	f, err := Seal([]byte("constant"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("X"), 0); err == nil {
		t.Error("it can be written to")
	}
	if err := f.Truncate(1); err == nil {
		t.Error("it can be cut short")
	}
	if got, err := unseal(f, MaxPayload); err != nil || string(got) != "constant" {
		t.Errorf("%q %v", got, err)
	}
	n, err := unix.MemfdCreate("open", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	unsealed := os.NewFile(uintptr(n), "open")
	defer unsealed.Close()
	if _, err := unseal(unsealed, MaxPayload); err == nil {
		t.Error("a memory file that can be changed is taken")
	}
}

func TestStream(t *testing.T) {
	a, f, err := StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Stream(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
	}
	io.WriteString(a, "hello")
	buf := make([]byte, 10)
	if n, err := b.Read(buf); string(buf[:n]) != "hello" || err != nil {
		t.Errorf("%q %v", buf[:n], err)
	}
	if _, err := Stream(file(t, "")); err == nil {
		t.Error("a file is taken for a stream")
	}
	_, packets, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Stream(packets); err == nil {
		t.Error("a packet socket is taken for a stream")
	}
	stream, other, err := StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := NewConn(other); err == nil {
		t.Error("a stream is taken for a channel")
	}
}

func TestSource(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7/32",
		"::ffff:192.0.2.7":       "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"fe80::1%eth0":           "fe80::/64",
		"::1":                    "::/64",
		"2001:db8:1:2:ffff::abc": "2001:db8:1:2::/64",
	} {
		if got := Source(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
	if got := Source(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address: %v", got)
	}
}

func TestFrames(t *testing.T) {
	r, w := io.Pipe()
	want := PAMRequest{User: "u", Password: "p\n\"\\", Remote: "192.0.2.1", Within: 10000}
	go func() {
		WriteFrame(w, want)
		w.Close()
	}()
	var got PAMRequest
	if err := ReadFrame(r, &got); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if err := ReadFrame(r, &got); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := WriteFrame(io.Discard, PAMRequest{Password: strings.Repeat("x", MaxFrame)}); err == nil {
		t.Error("a frame that is too large")
	}
	for _, in := range []string{"\x00", "\x00\x00\x00\x05abc", "\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x00\x00\x00\x02[]", "\x00\x00\x00\x04{} {"} {
		if err := ReadFrame(strings.NewReader(in), &got); err == nil || err == io.EOF {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzDecode reads packets of a peer that was taken over.
func FuzzDecode(f *testing.F) {
	for _, k := range kinds {
		body, err := json.Marshal(k.make())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(fmt.Appendf(nil, "%d %s\n%s", Version, k.name, body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Message
		var err error
		oracle.Cost(t, len(data), func() { m, err = decode(data, nil, MaxPayload) })
		if (m == nil) != (err != nil) {
			t.Fatalf("%v %v", m, err)
		}
		if err == nil && (len(m.files()) > 0 && m.files()[0] != nil) {
			t.Fatal("a descriptor out of nothing")
		}
	})
}

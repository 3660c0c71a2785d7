package session

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/search"
	"mailstead/imapserver/wire"
)

// heard is a session whose words can be heard.
func heard(t *testing.T) (*session, *bytes.Buffer) {
	t.Helper()
	c := &script{in: strings.NewReader("")}
	s := &session{conn: newConn(c), w: wire.NewWriter(c)}
	s.Limits = &wire.PostAuth
	return s, &c.out
}

// A command says how far it is once it takes long, and no more than now and then.
func TestProgress(t *testing.T) {
	s, out := heard(t)
	p := s.newProgress("a1", 1000)
	step := func(n int) {
		t.Helper()
		if err := p.step(n); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		step(1)
	}
	if out.Len() > 0 {
		t.Errorf("at once: %s", out)
	}
	long := func() { p.looked, p.told = time.Unix(0, 0), time.Unix(0, 0) }
	long()
	step(75)
	step(8)
	if have, want := out.String(), "* OK [INPROGRESS (\"a1\" 175 1000)] still at work\r\n"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
	out.Reset()
	p.tag = "]"
	long()
	step(817)
	if have, want := out.String(), "* OK [INPROGRESS (NIL NIL NIL)] still at work\r\n"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
	out.Reset()
	s.Without = append(s.Without, "INPROGRESS")
	long()
	if step(8); out.Len() > 0 {
		t.Errorf("where it is switched off: %s", out)
	}
}

// What waits for one long call says that it goes on too.
func TestPatiently(t *testing.T) {
	s, out := heard(t)
	s.pace = time.Millisecond
	failed := errors.New("failed")
	err := s.patiently("a", func() error {
		time.Sleep(50 * time.Millisecond)
		return failed
	})
	if err != failed || !strings.HasPrefix(out.String(), "* OK [INPROGRESS (\"a\" NIL NIL)] still at work\r\n") {
		t.Errorf("%v, %q", err, out)
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "broken, in a goroutine") {
			t.Errorf("a panic became %v", r)
		}
	}()
	s.patiently("a", func() error { panic("broken") })
}

// What may take long ends for a client that has gone, wherever it has been asked for.
func TestProgressForNobody(t *testing.T) {
	a := mailboxOf(t, 20, "S")
	v, err := a.Select(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	gone := hungUpClient()
	s := &session{Params: Params{Account: a}, conn: newConn(gone), w: wire.NewWriter(io.Discard)}
	s.Limits = &wire.PostAuth
	late := func() *progress {
		p := s.newProgress("", 0)
		p.looked = time.Time{}
		return p
	}
	r := &receiver{ctx: t.Context(), s: s, progress: late()}
	if err := r.url(nil, "/INBOX/;UID=1"); !fatal(err) {
		t.Errorf("a part of CATENATE: %v", err)
	}
	s.selected = &selection{view: v, live: []*liveSearch{{matcher: *newMatcher(v, search.Compile(subjectKey, search.Frame{})), next: 1}}}
	if err := s.tellLive(t.Context(), late()); !fatal(err) || len(s.selected.live) != 1 {
		t.Errorf("a search that is kept up to date: %v", err)
	}
}

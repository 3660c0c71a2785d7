package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// What a server says before or to a login, and what the client is told.
func TestLogin(t *testing.T) {
	refuse := func(text string) func(*fakeConn, string, string) bool {
		return func(c *fakeConn, tag, word string) bool {
			if word == "AUTHENTICATE" {
				fmt.Fprintf(c, "%s %s\r\n", tag, text)
			}
			return word == "AUTHENTICATE"
		}
	}
	say := func(text string) func(*fakeConn, string, string) bool {
		return func(c *fakeConn, _, word string) bool {
			if word == "AUTHENTICATE" {
				fmt.Fprint(c, text)
			}
			return word == "AUTHENTICATE"
		}
	}
	greet := func(text string) func(*fakeConn, string, string) bool {
		return func(c *fakeConn, _, word string) bool {
			if word == "greeting" {
				fmt.Fprint(c, text)
				<-c.closing()
			}
			return true
		}
	}
	for _, tt := range []struct {
		name string
		odd  func(c *fakeConn, tag, word string) bool
		want handoff.Verdict
		err  string
	}{
		{"good", nil, handoff.Verdict{User: "alice"}, ""},
		{"wrong", refuse("NO [AUTHENTICATIONFAILED] Wrong."), handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Wrong."}, ""},
		{"without a code", refuse("NO Wrong."), handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Wrong."}, ""},
		{"in small letters", refuse("NO [limit] Enough."), handoff.Verdict{Code: "LIMIT", Text: "Enough."}, ""},
		{"a long text", refuse("NO [LIMIT] " + strings.Repeat("x", 5000)), handoff.Verdict{Code: "LIMIT", Text: strings.Repeat("x", maxText)}, ""},
		{"a long code", refuse("NO [" + strings.Repeat("x", 5000) + "] No."), handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "No."}, ""},
		{"BAD", refuse("BAD Too long."), handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}, ""},
		{"expired", refuse("NO [EXPIRED] Old."), handoff.Verdict{Code: "EXPIRED", Text: "Old."}, ""},
		{"not now", refuse("NO [UNAVAILABLE] Later."), handoff.Verdict{Code: "UNAVAILABLE", Text: "Later."}, ""},
		{"elsewhere", refuse("NO [REFERRAL imap://alice@b/] There."), handoff.Verdict{Elsewhere: "imap://alice@b/", Text: "There."}, ""},

		{"BYE", say("* BYE\r\n"), handoff.Verdict{}, "BYE"},
		{"one that asks on", say("+ \r\n"), handoff.Verdict{}, "to go on"},
		{"an answer to somebody else", say("x OK\r\n"), handoff.Verdict{}, "no response"},
		{"an answer of another kind", refuse("WELL Hm."), handoff.Verdict{}, "answers"},
		{"hangs", func(_ *fakeConn, _, word string) bool { return word == "AUTHENTICATE" }, handoff.Verdict{}, "too long"},
		{"hangs in its greeting", greet(""), handoff.Verdict{}, "too long"},
		{"greets with BYE", greet("* BYE Full.\r\n"), handoff.Verdict{}, "its greeting is"},
		{"greets with PREAUTH", greet("* PREAUTH Hi.\r\n"), handoff.Verdict{}, "its greeting is"},
		{"another protocol", greet("220 mail.example ESMTP\r\n"), handoff.Verdict{}, "its greeting is"},
		{"an endless line", greet("* OK " + strings.Repeat("x", 1<<20)), handoff.Verdict{}, "more than"},
		{"endless responses", say(strings.Repeat("* 1 EXISTS\r\n", 5000)), handoff.Verdict{}, "more than"},
		{"a huge literal", say("* X {99999999}\r\n"), handoff.Verdict{}, "more than"},
		{"NUL", refuse("\x00\x00\r\n\x00\r\n"), handoff.Verdict{}, "answers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.odd = tt.odd
			patience := map[string]int64{}
			if tt.err == "too long" {
				patience["proxyPatience"], patience["longestDelay"] = 1, 0
			}
			p := f.start().front(patience)
			v, err := p.Check(t.Context(), credentials("alice", "right"))
			if v != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v %v", v, err)
			}
		})
	}
}

// A server may want the login in other ways.
func TestWaysToLogIn(t *testing.T) {
	for caps, want := range map[string]string{
		"IMAP4rev1 AUTH=PLAIN SASL-IR":     `AUTHENTICATE PLAIN AGFsaWNlAGEiYlzDpA==`,
		"IMAP4rev1 AUTH=PLAIN":             "AUTHENTICATE PLAIN|AGFsaWNlAGEiYlzDpA==",
		"IMAP4rev1 LITERAL+":               "LOGIN {5+}|alice {6+}|a\"b\\ä",
		"IMAP4rev1":                        "LOGIN {5}|alice {6}|a\"b\\ä",
		"IMAP4rev1 LOGINDISABLED STARTTLS": "",
	} {
		f := newFake(t)
		f.caps = caps
		said := make(chan string, 1)
		f.odd = func(c *fakeConn, tag, word string) bool {
			line := c.said[max(0, len(c.said)-1):]
			if word != "AUTHENTICATE" && word != "LOGIN" {
				return false
			}
			all := line[0]
			for range strings.Count(want, "|") {
				if !strings.Contains(all, "+}") {
					fmt.Fprint(c, "+ \r\n")
				}
				next, _ := c.r.ReadString('\n')
				all += "|" + strings.TrimRight(next, "\r\n")
			}
			said <- all
			fmt.Fprintf(c, "%s OK [CAPABILITY IMAP4rev1] In.\r\n", tag)
			return true
		}
		p := f.start().front(nil)
		v, err := p.Check(t.Context(), credentials("alice", `a"b\ä`))
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "neither PLAIN nor LOGIN") {
				t.Errorf("%s: %+v %v", caps, v, err)
			}
			continue
		}
		if got := <-said; got != want || v.User != "alice" {
			t.Errorf("%s: %q %+v %v", caps, got, v, err)
		}
	}
}

func TestQuoted(t *testing.T) {
	f := newFake(t)
	f.caps = "IMAP4rev1"
	said := make(chan string, 1)
	f.odd = func(c *fakeConn, tag, word string) bool {
		if word == "LOGIN" {
			said <- c.said[len(c.said)-1]
			fmt.Fprintf(c, "%s OK In.\r\n", tag)
		}
		return word == "LOGIN"
	}
	f.start().front(nil).Check(t.Context(), credentials("alice", `a "b\`))
	if got := <-said; got != `LOGIN "alice" "a \"b\\"` {
		t.Error(got)
	}
}

// Servers are told whose login it is, if that is wished.
func TestForward(t *testing.T) {
	f := newFake(t).start()
	p := f.front(nil, func(p *config.Proxy) { p.Forward, p.Webmail = true, []string{"192.0.2.0/24"} })
	for range 2 {
		visit(t, p, "alice", "right", "out LOGOUT\r\n").end()
	}
	ids := 0
	for _, said := range f.logins()[0].said {
		if strings.HasPrefix(said, `ID ("x-originating-ip" "192.0.2.1" "x-session-id" `) && strings.HasSuffix(said, ` "x-mailstead-proxy" "delays shared")`) {
			ids++
		}
	}
	if ids != 2 {
		t.Errorf("%q", f.logins()[0].said)
	}
	c := credentials("bob", "right") // of another proxy's web mail
	c.Remote, c.Shared = netip.MustParseAddr("198.51.100.1"), true
	if _, err := p.Check(t.Context(), c); err != nil || !strings.HasSuffix(f.logins()[1].said[0], ` "delays shared")`) {
		t.Errorf("%v %q", err, f.logins()[1].said)
	}
}

// A server may delay a refusal for as long as is done here.
func TestDelayedRefusal(t *testing.T) {
	f := newFake(t)
	f.odd = func(_ *fakeConn, _, word string) bool {
		if word == "AUTHENTICATE" {
			time.Sleep(1200 * time.Millisecond)
		}
		return false
	}
	p := f.start().front(map[string]int64{"proxyPatience": 1, "longestDelay": 20})
	if v, err := p.Check(t.Context(), credentials("alice", "wrong")); err != nil || v.Code != failed {
		t.Errorf("%+v %v", v, err)
	}
}

// The users of two servers go to their own, whatever capitals they begin with, and masters
// where the user is; others to neither, though one of them is asked, whose refusal takes as
// long as any.
func TestByUser(t *testing.T) {
	a, b := newFake(t).start(), newFake(t).start()
	p := a.front(nil, func(p *config.Proxy) {
		p.Servers = append(p.Servers, config.Server{Host: "127.0.0.1", Port: b.l.Addr().(*net.TCPAddr).Port, TLS: config.Plain})
		p.Users = map[string]int{"alice": 0, "bob": 1, "Kim": 1}
	})
	for _, user := range []string{"alice", "bob", "Kim", "alice", "bob*helpdesk"} {
		visit(t, p, user, "right", "out LOGOUT\r\n").end()
	}
	for name, user := range map[string]string{"Alice": "alice", "kim": "Kim", "BOB*helpdesk": "bob*helpdesk"} {
		c := credentials(name, "right")
		if v, err := p.Check(t.Context(), c); err != nil || v.User != user {
			t.Fatalf("%s: %+v %v", name, v, err)
		}
		begin(t, p, c.ID, "out LOGOUT\r\n").end()
	}
	var users []string
	for i, f := range []*fake{a, b} {
		for _, c := range f.logins() {
			users = append(users, fmt.Sprint(i, " ", c.user))
		}
	}
	if slices.Sort(users); !slices.Equal(users, []string{"0 alice", "1 Kim", "1 bob", "1 bob*helpdesk"}) {
		t.Errorf("%q", users)
	}
	for password, text := range map[string]string{"right": failedText, "wrong": "No."} {
		if v, err := p.Check(t.Context(), credentials("carol", password)); err != nil || v != (handoff.Verdict{Code: failed, Text: text}) {
			t.Errorf("%s: %+v %v", password, v, err)
		}
	}
	if n := count(p); n.Idle != 4 || n.Refused != 2 {
		t.Errorf("%+v", n)
	}
}

func TestRefer(t *testing.T) {
	f := newFake(t).start()
	kept := f.front(nil)
	visit(t, kept, "alice", "right", "out LOGOUT\r\n").end()
	stays := visit(t, kept, "bob", "right", "")
	stays.until("in OK ")
	reload(t, kept, f.config(nil, func(p *config.Proxy) { p.Refer = true }))
	stays.leave()
	for _, user := range []string{"alice", "bob"} {
		if v, err := kept.Check(t.Context(), credentials(user, "right")); err != nil || v.Elsewhere == "" || count(kept).Idle != 0 {
			t.Errorf("%s, whose connection was kept: %+v %v, %+v", user, v, err, count(kept))
		}
	}
	p := f.front(nil, func(p *config.Proxy) { p.Refer = true })
	v, err := p.Check(t.Context(), credentials("al ice", "right"))
	if _, port, _ := net.SplitHostPort(f.l.Addr().String()); err != nil || v.Elsewhere != "imap://al%20ice;AUTH=*@127.0.0.1:"+port+"/" {
		t.Errorf("%+v %v", v, err)
	}
	for s, want := range map[config.Server]string{
		{Host: "a.example", Port: 143}: "imap://alice;AUTH=*@a.example/", {Host: "::1", Port: 143}: "imap://alice;AUTH=*@[::1]/", {Host: "::1", Port: 993}: "imap://alice;AUTH=*@[::1]:993/",
	} {
		if got := (&server{Server: s}).url("alice"); got != want {
			t.Errorf("%+v: %s, not %s", s, got, want)
		}
	}
	if v, _ := p.Check(t.Context(), credentials("alice", "wrong")); v.Elsewhere != "" {
		t.Errorf("somebody without the password is told where it is: %+v", v)
	}
}

// certificate makes one for a name, as PEM and to serve.
func certificate(t *testing.T, name string) ([]byte, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A password goes to nobody whose certificate is not the one that is meant.
func TestTLS(t *testing.T) {
	trusted, own := certificate(t, "imap.example")
	_, foreign := certificate(t, "imap.example")
	for _, tt := range []struct {
		name, mode, pinned string
		serve              tls.Certificate
		behind             string // what follows STARTTLS's answer in the clear
		err                string
	}{
		{"implicit", config.Implicit, "imap.example", own, "", ""},
		{"starttls", config.STARTTLS, "imap.example", own, "", ""},
		{"another name", config.Implicit, "other.example", own, "", "not other.example"},
		{"no name but the address", config.STARTTLS, "", own, "", "127.0.0.1"},
		{"somebody else's", config.Implicit, "imap.example", foreign, "", "unknown authority"},
		{"somebody else's by STARTTLS", config.STARTTLS, "imap.example", foreign, "", "unknown authority"},
		{"octets in the clear", config.STARTTLS, "imap.example", own, "* CAPABILITY X\r\n", "in the clear"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			secure := func(c *fakeConn) {
				c.Conn = tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{tt.serve}})
				c.r.Reset(c.Conn)
			}
			heard := make(chan string, 10)
			f.odd = func(c *fakeConn, tag, word string) bool {
				switch {
				case word == "greeting" && tt.mode == config.Implicit:
					secure(c)
				case word == "STARTTLS":
					fmt.Fprintf(c, "%s OK Go.\r\n%s", tag, tt.behind)
					secure(c)
					return true
				case word == "AUTHENTICATE":
					heard <- word
				}
				return false
			}
			p := f.start().front(nil, func(p *config.Proxy) {
				p.Servers[0].TLS, p.Servers[0].Name, p.PEM = tt.mode, tt.pinned, trusted
			})
			v, err := p.Check(t.Context(), credentials("alice", "right"))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v %v", v, err)
			}
			if tt.err != "" && len(heard) > 0 {
				t.Error("it has heard the password")
			}
		})
	}
}

// STARTTLS that is refused is no reason to go on without.
func TestNoTLS(t *testing.T) {
	pem, _ := certificate(t, "imap.example")
	f := newFake(t)
	f.odd = func(c *fakeConn, tag, word string) bool {
		if word == "AUTHENTICATE" {
			t.Error("the password came in the clear")
		}
		if word == "STARTTLS" {
			fmt.Fprintf(c, "%s NO Not now.\r\n", tag)
		}
		return word == "STARTTLS"
	}
	p := f.start().front(nil, func(p *config.Proxy) { p.Servers[0].TLS, p.PEM = config.STARTTLS, pem })
	if _, err := p.Check(t.Context(), credentials("alice", "right")); err == nil || !strings.Contains(err.Error(), "STARTTLS: NO Not now.") {
		t.Error(err)
	}
}

// What servers say of themselves is what clients see, as far as all do.
func TestOffer(t *testing.T) {
	a, b := newFake(t), newFake(t)
	b.caps = "IMAP4rev1 ID MOVE"
	p := a.start().front(nil)
	if o := p.Offer("imap"); o != nil {
		t.Errorf("%+v", o)
	}
	if o := p.Offer("webmail"); strings.Join(o.Capabilities, " ") != "IMAP4rev1" {
		t.Errorf("before anything is known: %+v", o)
	}
	p.Start()
	await(t, "known", func() bool { return len(p.Offer("webmail").Capabilities) > 1 })
	if o := p.Offer("webmail"); o.Text != "Fake ready." || strings.Join(o.Capabilities, " ") != "IMAP4rev1 LITERAL+ ID UNSELECT IDLE NOTIFY ENABLE" {
		t.Errorf("%+v", o)
	}
	both, err := p.Prepare(a.config(nil, func(p *config.Proxy) {
		p.Servers = append(p.Servers, config.Server{Host: "127.0.0.1", Port: b.start().l.Addr().(*net.TCPAddr).Port, TLS: config.Plain})
		p.Users = map[string]int{}
	}))
	if err != nil {
		t.Fatal(err)
	}
	both()
	await(t, "known", func() bool { return len(p.Offer("webmail").Capabilities) == 2 })
}

package proxy

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/limit"
)

// A word that enables CONDSTORE is seen wherever a line is cut into pieces.
func TestCutWords(t *testing.T) {
	const word = "CHANGEDSINCE"
	for cut := range len(word) + 1 {
		f := newFake(t).start()
		p := f.front(nil)
		begin := "b FETCH "
		set := strings.Repeat("1", 1<<10-cut-len(begin)-len(" FLAGS ("))
		visit(t, p, "alice", "right", "a SELECT INBOX\r\n"+begin+set+" FLAGS ("+word+" 1)\r\nout LOGOUT\r\n").end()
		if n := count(p).Idle; n != 0 {
			t.Errorf("cut after %d octets: kept", cut)
		}
	}
}

// What the server may not hear it does not hear, however it is said.
func TestRefused(t *testing.T) {
	for name, say := range map[string]string{
		"as it should be":                "a UNAUTHENTICATE",
		"in small letters":               "a unauthenticate",
		"behind a tag of 1 KiB":          strings.Repeat("a", 1<<10) + " UNAUTHENTICATE",
		"cut in two":                     strings.Repeat("a", 1<<10-8) + " UNAUTHENTICATE",
		"behind two spaces":              "a  UNAUTHENTICATE",
		"without a tag":                  " UNAUTHENTICATE",
		"before a NUL":                   "a UNAUTHENTICATE\x00x",
		"before a tab":                   "a UNAUTHENTICATE\tx",
		"in letters that are not":        "a \u017fTARTTLS",
		"after COMPRESS was refused":     "a COMPRESS DEFLATE\r\nb UNAUTHENTICATE",
		"after COMPRESS with a literal":  "a COMPRESS {7+}\r\nDEFLATE\r\nb UNAUTHENTICATE",
		"after COMPRESS of nothing":      "a COMPRESS\r\nb UNAUTHENTICATE",
		"after IDLE":                     "a IDLE\r\nb UNAUTHENTICATE\r\nDONE",
		"after a literal without an end": "a NOOP {3+}\r\nabc\r\nb UNAUTHENTICATE",
		"in a literal of a literal":      "x\r\na APPEND INBOX {23}\r\nb APPEND INBOX {40+}\r\n\r\nc UNAUTHENTICATE\r\nd NOOP\r\n" + strings.Repeat("x", 40),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.odd = func(c *fakeConn, tag, word string) bool {
				if word == "COMPRESS" {
					if _, waits, ok := literal([]byte(c.said[len(c.said)-1])); ok && !waits {
						c.r.ReadString('\n')
					}
					fmt.Fprintf(c, "%s NO Not today.\r\n", tag)
				}
				return word == "COMPRESS"
			}
			p := f.start().front(nil)
			visit(t, p, "alice", "right", say+"\r\nout LOGOUT\r\n").end()
			for _, said := range f.logins()[0].said {
				for _, word := range strings.FieldsFunc(strings.ToUpper(said), func(c rune) bool { return c <= ' ' }) {
					if !strings.Contains(said, unheard) && (word == "UNAUTHENTICATE" || word == "STARTTLS") {
						t.Errorf("the server has heard %q", said)
					}
				}
			}
		})
	}
}

// A connection that logs in again, since its first session was refused, leaves no link
// behind.
func TestLoginAgain(t *testing.T) {
	f := newFake(t).start()
	p := f.front(nil)
	c := credentials("alice", "right")
	for range 2 {
		if v, err := p.Check(t.Context(), c); v.User != "alice" || err != nil {
			t.Fatal(v, err)
		}
	}
	<-f.logins()[0].closed
	v := begin(t, p, c.ID, "")
	v.until("in OK ")
	v.leave()
	if n := p.fronts["webmail"].pool.users["alice"].out; n != 0 || count(p).Idle != 1 {
		t.Errorf("%d of her links are thought to be in sessions", n)
	}
}

// The configuration may change between a login and its session.
func TestReloadMeanwhile(t *testing.T) {
	for name, change := range map[string]func(p *Proxy, f, other *fake){
		"another server": func(p *Proxy, f, other *fake) { reload(t, p, other.config(nil)) },
		"no listener":    func(p *Proxy, f, _ *fake) { reload(t, p, &config.Config{}) },
		"no listener for a while": func(p *Proxy, f, _ *fake) {
			reload(t, p, &config.Config{})
			reload(t, p, f.config(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, other := newFake(t).start(), newFake(t).start()
			p := f.front(nil)
			c := credentials("alice", "right")
			if _, err := p.Check(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			change(p, f, other)
			if said := begin(t, p, c.ID, "").end(); !strings.HasSuffix(said, "* BYE "+movedText+"\r\n") {
				t.Errorf("%q", said)
			}
			<-f.logins()[0].closed
		})
	}
}

func reload(t *testing.T, p *Proxy, c *config.Config) {
	t.Helper()
	commit, err := p.Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	commit()
}

// A server that says nothing to a literal holds nobody who leaves, is to leave, or does
// not wait for it.
func TestLiteralUnanswered(t *testing.T) {
	for name, then := range map[string]func(v *visitor, p *Proxy){
		"the client leaves": func(v *visitor, p *Proxy) { v.Close() },
		"a stop":            func(v *visitor, p *Proxy) { p.Close(); v.until("* BYE The server is shutting down.") },
		"it does not wait": func(v *visitor, p *Proxy) {
			v.send("hello\r\n")
			v.until("* BYE The server behind this one does not answer.")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			reached := make(chan struct{})
			f.odd = func(c *fakeConn, tag, word string) bool {
				if word == "APPEND" {
					close(reached)
				}
				return word == "APPEND"
			}
			p := f.start().front(map[string]int64{"stall": 1})
			v := visit(t, p, "alice", "right", "a APPEND INBOX {5}\r\n")
			v.until("in OK ")
			<-reached
			then(v, p)
			<-v.done
			<-f.logins()[0].closed
		})
	}
}

// Of links that are dead without a word a login waits for one.
func TestSilentLinks(t *testing.T) {
	f := newFake(t)
	var silent atomic.Bool
	f.odd = func(c *fakeConn, _, word string) bool { return silent.Load() && word == "NOOP" }
	p := f.start().front(nil)
	var some []*visitor
	for range 3 {
		some = append(some, visit(t, p, "alice", "right", ""))
	}
	for _, v := range some {
		v.leave()
	}
	await(t, "kept", func() bool { return count(p).Idle == 3 })
	silent.Store(true)
	begun := time.Now()
	visit(t, p, "alice", "right", "").until("in OK ")
	if took := time.Since(begun); took > 2*limit.Default().Proxy.Alive {
		t.Errorf("logged in after %v", took)
	}
	if n := count(p); n.Stale != 1 || n.Idle != 2 {
		t.Errorf("%+v", n)
	}
}

// Of a server that does not take connections one login at a time finds out whether it
// does again; the others are told at once.
func TestMute(t *testing.T) {
	f := newFake(t)
	mute, arrived := make(chan bool), make(chan bool, 10)
	f.odd = func(c *fakeConn, _, word string) bool {
		if word != "greeting" {
			return false
		}
		arrived <- true
		<-mute
		return false
	}
	p := f.start().front(map[string]int64{"proxyPatience": 2})
	login := func() (string, time.Duration) {
		begun := time.Now()
		v, err := p.Check(t.Context(), credentials("alice", "right"))
		return fmt.Sprint(v.User, err), time.Since(begun)
	}
	if said, took := login(); !strings.Contains(said, "it takes too long") || took < time.Second {
		t.Errorf("%s after %v", said, took)
	}
	<-arrived
	trial := make(chan string)
	go func() { said, _ := login(); trial <- said }()
	<-arrived
	for range 3 {
		if said, took := login(); !strings.Contains(said, "127.0.0.1") || !strings.Contains(said, "it does not answer") || took > time.Second {
			t.Errorf("%s after %v", said, took)
		}
	}
	close(mute)
	if said := <-trial; said != "alice<nil>" {
		t.Error(said)
	}
	said := []string{}
	for range 3 {
		s, _ := login()
		said = append(said, s)
	}
	if slices.ContainsFunc(said, func(s string) bool { return s != "alice<nil>" }) {
		t.Errorf("%q", said)
	}
}

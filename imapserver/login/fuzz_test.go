package login

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/oracle"
)

// onlyRight lets in whoever gives one certain name and password.
type onlyRight struct{}

func (onlyRight) Mechanisms(string) []string { return nil }

func (onlyRight) Authenticate(_ context.Context, c *handoff.Credentials) handoff.Verdict {
	if c.User == "alice" && c.Password == "right" {
		return handoff.Verdict{User: "alice"}
	}
	return handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}
}

// ends is a worker that ends each session at once, and counts them.
type ends struct{ sessions atomic.Int64 }

func (e *ends) Open(_ context.Context, o *handoff.Open) (hangs func(), err error) {
	e.sessions.Add(1)
	_, err = o.Stream.WriteString(o.Tag + " OK in\r\n")
	o.Stream.Close()
	return func() {}, err
}

// answers is everything that a client may be told before its login: whole
// lines, of which only the tag is its own.
var answers = regexp.MustCompile(`^(?:(?:\* (?:OK|BAD|BYE|ID|CAPABILITY) [ -~]*|\+ ?[ -~]*|[^\x00-\x20\x7f(){%*"\\]+ (?:OK|NO|BAD) [ -~]*)\r\n)*$`)

// FuzzConnection speaks nonsense to a connection that is not logged in. It has
// to end, answer in whole lines, and let nobody in.
func FuzzConnection(f *testing.F) {
	for _, s := range []string{
		"a CAPABILITY\r\nb NOOP\r\nc LOGOUT\r\n",
		"a LOGIN alice wrong\r\n",
		"a LOGIN {5}\r\nalice {5+}\r\nwrong\r\n",
		"a AUTHENTICATE PLAIN\r\nAGFsaWNlAHdyb25n\r\n",
		"a AUTHENTICATE PLAIN AGFsaWNlAHdyb25n\r\nb AUTHENTICATE LOGIN\r\nYWxpY2U=\r\n*\r\n",
		"a ID (\"name\" \"x\" \"version\" NIL)\r\nb STARTTLS\r\nc NOOP\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"a ENABLE X\r\nb FETCH 1 (\r\n(((\r\n",
		"\x16\x03\x01\x00",
		"a STARTTLS\r\nb LOGIN alice right\r\n",
		"a AUTHENTICATE SCRAM-SHA-256\r\nbiwsbj1hbGljZSxyPTE=\r\nYz1iaXdzLHI9MSxwPUFBQUE=\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	limits := Default
	limits.Lifetime = 5 * time.Second
	f.Fuzz(func(t *testing.T, in []byte, clear bool) {
		workers := &ends{}
		s := New(Options{Log: slog.New(slog.DiscardHandler), Limits: limits, Auth: onlyRight{}, Open: workers})
		defer s.Shutdown(t.Context())
		c := &config.Config{TLS: config.TLS{Policy: config.Modern}, Listeners: []config.Listener{{Name: "x", TLS: config.Plain}}}
		if err := s.Update(c, nil); err != nil {
			t.Fatal(err)
		}
		if !clear {
			s.settings.Load().modes["x"] = config.STARTTLS
		}
		client, theirs, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := handoff.Stream(theirs)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serve(server, "x", netip.Addr{}, s.log, nil)
			server.Close()
		}()
		var said []byte
		oracle.OnceCost(t, len(in)>>16, func() {
			go func() {
				client.Write(in)
				client.CloseWrite()
			}()
			said, _ = io.ReadAll(client)
			<-done
		})
		if !answers.Match(said) {
			t.Errorf("%q was answered %q", in, said)
		}
		if err := oracle.Responses(said); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if workers.sessions.Load() > 0 && (!clear || !bytes.Contains(in, []byte("right")) && !bytes.Contains(in, []byte("AUTHENTICATE"))) {
			t.Errorf("%q was let in", in)
		}
	})
}

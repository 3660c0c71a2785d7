package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/sasl"
)

// driven is an Authenticator with a mechanism of its own: it wants "one", then "two".
type driven struct {
	mu   sync.Mutex
	seen []handoff.Credentials
}

func (*driven) Mechanisms(listener string) []string {
	if listener == "plain" {
		return nil
	}
	return []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
}

func (d *driven) Authenticate(_ context.Context, c *handoff.Credentials) handoff.Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, *c)
	switch e := c.Exchange; {
	case e.Cancelled:
		return handoff.Verdict{}
	case e.ID == "" && e.Response == nil:
		return handoff.Verdict{Exchange: "7", Challenge: ""}
	case string(e.Response) == "one":
		return handoff.Verdict{Exchange: "7", Challenge: "go on"}
	case string(e.Response) == "two":
		return handoff.Verdict{User: "alice", By: "what it is"}
	}
	return handoff.Verdict{Syntax: true, Text: "That is no response."}
}

// Responses go to auth as they are, and its challenges to the client; what binds
// the exchange to its connection goes along with the first response.
func TestExchange(t *testing.T) {
	d := &driven{}
	s := startWith(t, nil, d)
	plain := s.dial("plain")
	plain.want("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE STARTTLS AUTH=PLAIN AUTH=LOGIN ")
	plain.send("a AUTHENTICATE SCRAM-SHA-256 b25l\r\n")
	plain.want("a NO [CANNOT] ")
	c := s.dialTLS("other.example")
	c.want("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN ")
	c.send("a AUTHENTICATE SCRAM-SHA-256\r\n*\r\nb AUTHENTICATE SCRAM-SHA-256 b25l\r\n????\r\nc AUTHENTICATE SCRAM-SHA-256-PLUS b25l\r\ndHdv\r\n")
	c.want("+ ", "a BAD ", "+ Z28gb24=", "b BAD ", "+ Z28gb24=", "c OK echo")
	d.mu.Lock()
	defer d.mu.Unlock()
	var got []string
	for _, e := range d.seen {
		got = append(got, fmt.Sprintf("%s %s %q %v %v", e.Listener, e.Exchange.ID, e.Exchange.Response, e.Exchange.Cancelled, len(e.Exchange.Bindings)))
	}
	want := []string{
		`imaps  "" false 2`, `imaps 7 "" true 0`, `imaps  "one" false 2`, `imaps 7 "" true 0`, `imaps  "one" false 2`, `imaps 7 "two" false 0`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("auth was told\n%q\nnot\n%q", got, want)
	}
	state := c.Conn.(*tls.Conn).ConnectionState()
	material, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	end, err := endPoint(state.PeerCertificates[0])
	if err != nil {
		t.Fatal(err)
	}
	last := d.seen[len(d.seen)-2].Exchange.Bindings
	if !bytes.Equal(last["tls-exporter"], material) || !bytes.Equal(last["tls-server-end-point"], end) {
		t.Error("what binds the exchange to its connection is not what the client has")
	}
}

// sends is an Authenticator that sends what it is told as to another process.
type sends struct {
	driven
	*handoff.Conn
}

func (s *sends) Authenticate(_ context.Context, c *handoff.Credentials) handoff.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, *c)
	if err := s.Send(&handoff.Ask{Credentials: *c}); err != nil {
		return handoff.Verdict{Code: "UNAVAILABLE", Text: err.Error()}
	}
	if c.Exchange != nil && c.Exchange.Response == nil {
		return handoff.Verdict{Exchange: "7"}
	}
	return handoff.Verdict{Code: "AUTHENTICATIONFAILED", Text: "Authentication failed."}
}

// What a client may present fits into a message to auth, whatever is in it; what may not
// be is refused as a wrong password is, to the octet, and auth not asked.
func TestLongestCredentials(t *testing.T) {
	c, f, err := handoff.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer c.Close()
	a := &sends{Conn: c}
	s := startWith(t, nil, a)
	mine := issue(t, time.Now().Add(time.Hour), "client.example")
	with := testConfig()
	with.Listeners[1].Clients = &config.Clients{PEM: mine, By: config.ByName}
	if err := s.Update(with, s.bundles); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(mine, mine)
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		pair.Certificate = append(pair.Certificate, pair.Certificate[0]) // a chain
	}
	long := func(n int, what string) string { return strings.Repeat(what, n) }
	plain := func(user, password, other string) string {
		return "AUTHENTICATE PLAIN " + base64.StdEncoding.EncodeToString([]byte(other+"\x00"+user+"\x00"+password))
	}
	login := func(user, password string) string {
		return fmt.Sprintf("LOGIN {%d+}\r\n%s {%d+}\r\n%s", len(user), user, len(password), password)
	}
	for command, asked := range map[string]bool{
		login(long(sasl.MaxUser, "<"), long(sasl.MaxPassword, "<")):                                                                       true,
		plain(long(sasl.MaxUser, "\x01"), long(sasl.MaxPassword, "\x01"), long(sasl.MaxUser, "\x02")):                                     true,
		"AUTHENTICATE SCRAM-SHA-256 " + base64.StdEncoding.EncodeToString([]byte(long(6000, "x"))):                                        true,
		"AUTHENTICATE SCRAM-SHA-256\r\n" + base64.StdEncoding.EncodeToString([]byte(long((int(limit.Default().Before.SASL)-2)/4*3, "x"))): true,
		login("alice", long(2800, "<")): false,
		login("alice", "p\xe4ss"):       false,
	} {
		before := s.refusals(metrics.Refusals)["imaps "+metrics.WrongCredentials]
		a.seen = nil
		conn, err := tls.Dial("tcp", s.addr["imaps"], &tls.Config{RootCAs: s.roots, ServerName: "mail.example", Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		c.want("* OK ")
		c.send("a " + command + "\r\n")
		for line := c.line(); line != "a NO [AUTHENTICATIONFAILED] Authentication failed."; line = c.line() {
			if !strings.HasPrefix(line, "+ ") {
				t.Errorf("%.40q: %s", command, line)
				break
			}
		}
		if got := len(a.seen) > 0; got != asked {
			t.Errorf("%.40q: auth was asked: %v", command, got)
		}
		if n := s.refusals(metrics.Refusals)["imaps "+metrics.WrongCredentials] - before; n != 1 {
			t.Errorf("%.40q: counted %v times", command, n)
		}
		conn.Close()
	}
	if n := strings.Count(s.log.String(), `msg="login failed" addr=127.0.0.1 `); n != 2 {
		t.Errorf("%d lines for fail2ban", n)
	}
}

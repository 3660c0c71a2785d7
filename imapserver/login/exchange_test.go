package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"

	"mailstead/imapserver/handoff"
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

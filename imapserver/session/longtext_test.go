package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/message"
)

// longHeader makes a message of so many addresses: of 12,000, its ENVELOPE and BODYSTRUCTURE
// have megaoctets.
func longHeader(addresses int) string {
	list := strings.Repeat("\""+strings.Repeat("name ", 25)+"\" <a@b.example>,\n ", addresses) + "c@d.example\n"
	fields := strings.Repeat("X: "+strings.Repeat("text ", 200)+"\n", 14)
	return "Subject: long\nFrom: " + list + fields + "MIME-Version: 1.0\nContent-Type: message/rfc822\n\nFrom: " + list + "\nbody\n"
}

// What is made of a large message, and cannot be read from its file as a client takes it, is
// in memory of two sessions, however many ask and take nothing.
func TestLongTextsStalled(t *testing.T) {
	was := decodePatience
	t.Cleanup(func() { decodePatience = was }) // when the server is gone
	decodePatience = 100 * time.Millisecond
	s := newServer(t)
	addresses := 12_000
	if testing.Short() {
		addresses = 3_000
	}
	s.deliver("1000.M1P1.host", longHeader(addresses))
	var fields []string
	for n := range 500 {
		fields = append(fields, fmt.Sprintf("BODY.PEEK[HEADER.FIELDS (X Y%d)]", n))
	}
	for _, what := range []string{"ENVELOPE", "BODYSTRUCTURE", "BODY", "(" + strings.Join(fields, " ") + ")"} {
		before := heap()
		stalled := s.stalled(10, what)
		if grown := heap() - before; grown > 40<<20 {
			t.Errorf("%.20s: %d MiB for ten clients that take nothing", what, grown>>20)
		}
		for _, p := range stalled {
			p.conn.Close()
		}
		for until := time.Now().Add(10 * time.Second); len(decoding) > 0 && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
		if len(decoding) > 0 {
			t.Fatalf("%.20s: a place was not given back", what)
		}
	}
}

// They come whole, one after the other and beside each other, and what is asked for in pieces
// beside them is right.
func TestLongTexts(t *testing.T) {
	s := newServer(t)
	text := longHeader(12_000)
	s.deliver("1000.M1P1.host", text)
	c := s.connect()
	c.ok("SELECT INBOX")
	parsed := message.Parse([]byte(sent(text)))
	envelope, structure := string(parsed.AppendEnvelope(nil)), string(parsed.AppendBodyStructure(nil, true))
	if len(envelope) < 1<<20 || len(structure) < 1<<20 {
		t.Fatalf("%d and %d octets are not long", len(envelope), len(structure))
	}
	piece := sent(text)[20:30]
	for range 2 {
		for items, want := range map[string]string{
			"ENVELOPE": "ENVELOPE " + envelope, "(BODYSTRUCTURE ENVELOPE)": "BODYSTRUCTURE " + structure + " ENVELOPE " + envelope,
			"(BODY.PEEK[HEADER]<20.10>)":          "BODY[HEADER]<20> {10}\r\n" + piece,
			"(ENVELOPE BODY.PEEK[HEADER]<20.10>)": "ENVELOPE " + envelope + " BODY[HEADER]<20> {10}\r\n" + piece,
		} {
			if got := c.ok("FETCH 1 %s", items); got != "* 1 FETCH ("+want+")" {
				t.Errorf("%s: %d octets instead of %d: %.100q", items, len(got), len(want)+13, got)
			}
			if len(parsing) > 0 || len(decoding) > 0 {
				t.Errorf("%s: a place was not given back", items)
			}
		}
	}
}

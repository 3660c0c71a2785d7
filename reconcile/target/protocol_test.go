package target

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
)

func TestMessages(t *testing.T) {
	var wire bytes.Buffer
	for _, kind := range []string{Said, Answer, Stop} {
		body := any(strings.Repeat("x\n", 100_000)) // more than a buffer holds
		if kind == Stop {
			body = nil
		}
		if err := Write(&wire, kind, body); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&wire, MaxRequest)
	for _, kind := range []string{Said, Answer, Stop} {
		m, err := r.Next()
		if err != nil || m.Kind != kind || (kind == Stop) != (m.Body == nil) {
			t.Fatalf("read %q with %d octets, %v; want %q", m.Kind, len(m.Body), err, kind)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}

func TestBadMessages(t *testing.T) {
	for in, want := range map[string]string{
		"{\"kind\":\"plan\"}":     "unexpected EOF",
		"hello\n":                 "read message: invalid character",
		"{\"body\":1}\n":          "read message: it has no kind",
		strings.Repeat("x", 2000): "message too long",
		"\n":                      "read message: unexpected end",
	} {
		if _, err := NewReader(strings.NewReader(in), 1000).Next(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", in, err, want)
		}
	}
}

func TestHello(t *testing.T) {
	greeting := `{"mailstead_protocol":1,"version":"v"}` + "\n"
	for _, test := range []struct{ in, err string }{
		{greeting, ""},
		{"Welcome!\n\n{}\n" + greeting, ""},
		{"", "EOF"},
		{"This account is closed.\n", `EOF; it said "This account is closed."`},
		{strings.Repeat("no\n", 1000), "too much of something else"},
		{strings.Repeat("x", 1<<20), "message too long"},
		{"\xff\xfe\x1b[31m\n", `EOF; it said "�\x1b[31m"`},
	} {
		h, err := NewReader(strings.NewReader(test.in), MaxAnswer).hello()
		switch {
		case test.err == "" && err == nil && h == Hello{1, "v"}:
		case test.err != "" && err != nil && strings.Contains(err.Error(), test.err):
		default:
			t.Errorf("%.40q: %+v, %v; want %q", test.in, h, err, test.err)
		}
	}
}

// Whatever the other end sends, a reader ends, within its bound, with a message
// that can be written again or an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte("{\"kind\":\"plan\",\"body\":{\"host\":null}}\n{\"kind\":\"stop\"}\n"))
	f.Add([]byte("motd\n{\"mailstead_protocol\":1}\n{\"kind\":\"said\",\"body\":\"x\"}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1000
		oracle.Cost(t, len(in), func() { NewReader(bytes.NewReader(in), limit).hello() })
		oracle.Cost(t, len(in), func() {
			r := NewReader(bytes.NewReader(in), limit)
			for err := error(nil); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrTooLong); {
				_, err = r.Next()
			}
		})
		r := NewReader(bytes.NewReader(in), limit)
		for {
			m, err := r.Next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrTooLong) {
				return
			}
			if err != nil {
				continue // the lines after it are read all the same
			}
			var b bytes.Buffer
			if err := Write(&b, m.Kind, m.Body); err != nil || len(m.Body) > limit {
				t.Fatalf("%q: %v", m.Body, err)
			}
			if again, err := NewReader(&b, 10*limit).Next(); err != nil || again.Kind != m.Kind {
				t.Fatalf("%q: %v", b.Bytes(), err)
			}
		}
	})
}

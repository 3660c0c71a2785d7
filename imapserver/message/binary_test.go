package message

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

func TestBinary(t *testing.T) {
	m := Parse([]byte("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		"--b\r\nContent-Transfer-Encoding: QUOTED-Printable (x)\r\n\r\na=00=\r\nb\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n" +
		"--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nx\r\n" +
		"--b\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYgoKYw==\r\n--b--\r\n"))
	for _, tt := range []struct {
		part []int
		want string
		ok   bool
		err  error
	}{
		{nil, string(m.raw), true, nil},
		{[]int{1}, "a\x00b", true, nil},
		{[]int{2}, "Content-Transfer-Encoding: base64\r\n\r\nYQ==", true, nil},
		{[]int{2, 1}, "a", true, nil},
		{[]int{3}, "", false, ErrEncoding},
		{[]int{4}, "A: b\n\nc", true, nil},
		{[]int{4, 1}, "", false, nil},
		{[]int{5}, "", false, nil},
	} {
		b, ok, err := m.Binary(tt.part)
		if string(b) != tt.want || ok != tt.ok || err != tt.err {
			t.Errorf("part %v: %q, %v, %v", tt.part, b, ok, err)
		}
	}
}

// texts are messages with octets that are no text, and what is made of them; ""
// where that is not possible.
var texts = []struct{ in, out string }{
	{"A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n"},
	{"A: b\r\n\r\n\x00", "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n"},
	{"A: b\r\n\r\nc\nd", "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nYwpk\r\n"},
	{"A: b\r\n\r\nc\rd", "A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nYw1k\r\n"},
	{"A: b\r\nContent-Transfer-Encoding:\r\n 8bit\r\nC: d\r\n\r\n" + strings.Repeat("\x00", 58),
		"A: b\r\nC: d\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("A", 76) + "\r\nAA==\r\n"},
	{"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\nX: y\r\n\r\n\x00\r\n--b\r\n\r\ntext\r\n--b--\r\nepi\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\nX: y\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n\r\n--b\r\n\r\ntext\r\n--b--\r\nepi\r\n"},
	{"Content-Type: multipart/mixed; boundary=b\r\n\r\n\x00\r\n--b\r\n\r\n--b--\r\n", ""},
	{"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\x00\r\n--b--\r\n", ""},
	{"Content-Transfer-Encoding: base64\r\n\r\n\x00", ""},
	{"Content-Transfer-Encoding: x\r\n\r\n\x00", ""},
	{"A: \x00\r\n\r\nb", ""},
	{"A: b\nC: d\r\n\r\n\x00", ""},
	{"\r\n\x00", "Content-Transfer-Encoding: base64\r\n\r\nAA==\r\n"},
	{"\x00", ""},
}

func TestText(t *testing.T) {
	for _, tt := range texts {
		out, err := Text([]byte(tt.in))
		if string(out) != tt.out || errors.Is(err, ErrEncoding) != (tt.out == "") {
			t.Errorf("%q: %q, %v", tt.in, out, err)
		}
	}
}

// TestTextDepth shows that the work does not grow with the nesting.
func TestTextDepth(t *testing.T) {
	body := strings.Repeat("\r\n", 1<<20) + "\r"
	flat, deep := []byte(nested(1)+body), []byte(nested(maxDepth)+body)
	for try := 0; ; try++ {
		one, all := processorTime(func() { Text(flat) }), processorTime(func() { Text(deep) })
		if all < 4*one+10*time.Millisecond {
			break
		}
		if try == 4 {
			t.Fatalf("in one multipart it takes %v, in %d %v", one, maxDepth, all)
		}
	}
}

// FuzzText: what Text gives is text, and every part of it says what it said.
func FuzzText(f *testing.F) {
	for _, tt := range texts {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out []byte
		var err error
		oracle.Cost(t, len(b), func() { out, err = Text(b) })
		if err != nil {
			return
		}
		if !isText(out) {
			t.Fatalf("%q is no text", out)
		}
		if isText(b) && string(out) != string(b) {
			t.Fatalf("%q became %q", b, out)
		}
		if diff := cmp.Diff(bodies(t, b), bodies(t, out)); diff != "" {
			t.Errorf("%q became %q: %s", b, out, diff)
		}
	})
}

// bodies decodes every part of a message that can be.
func bodies(t *testing.T, b []byte) (list []string) {
	m := Parse(b)
	var walk func(e *entity, part []int)
	walk = func(e *entity, part []int) {
		if e.kind == kindLeaf {
			body, ok, err := m.Binary(append([]int{1}, part...)[1:])
			if len(part) == 0 {
				body, ok, err = m.Binary([]int{1})
			}
			if !ok && err == nil {
				t.Fatalf("no part %v", part)
			}
			list = append(list, string(body))
			return
		}
		for i, p := range e.parts {
			next := append(append([]int(nil), part...), i+1)
			if e.kind == kindMessage {
				if next = part; len(part) == 0 || p.kind != kindMultipart {
					next = append(append([]int(nil), part...), 1)
				}
			}
			walk(p, next)
		}
	}
	walk(m.root, nil)
	return list
}

package message

import (
	"strings"
	"testing"
	"unicode/utf8"

	"mailstead/imapserver/oracle"
)

var previews = []struct{ in, want string }{
	{"Subject: x\r\n\r\nHello  you,\r\n\r\n\tthere\r\n", "Hello you, there"},
	{"Subject: x\r\n\r\n> old\r\n>> older\r\nnew\r\n-- \r\nsignature\r\n", "new"},
	{"Subject: x\r\n\r\n> only\r\n> quoted\r\n", "> only > quoted"},
	{"Subject: x\r\n\r\n", ""},
	{"Content-Type: text/html\r\n\r\n<html><head><title>no</title><style>p{}</style></head><body><!-- no --><p class=\"a>b\">Gr&uuml;n<b>es</b></p><br>L&lt;b&gt;<script>if (a<b) {}</SCRIPT >x", "Grünes L<b> x"},
	{"Content-Type: text/html\r\n\r\n<head><title>no</title><meta name=x content=y><body>yes", "yes"},
	{"Content-Type: text/html\r\n\r\n1 < 2 <3 <", "1 < 2 <3 <"},
	{"Content-Type: text/html\r\n\r\na<style>never closed", "a"},
	{"Content-Type: text/html\r\n\r\na<!-- never closed", "a"},
	{"Content-Type: text/html\r\n\r\n<p>x\u200c\u034f \u200b\u034f y", "x y"},
	{"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>h\r\n--b\r\n\r\np\r\n--b--\r\n", "p"},
	{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\na\r\n--b\r\nContent-Type: text/html;charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<i>=FC</i>\r\n--b--\r\n", "ü"},
	{"Content-Type: text/plain; charset=utf-8; charset=iso-8859-1\r\n\r\nü", "ü"},
	{"Content-Type: image/png\r\n\r\nx", ""},
	{"Subject: x\r\n\r\na\x00\xffb\r\n", "ab"},
	{"Subject: x\r\n\r\n" + strings.Repeat("ä", 300), strings.Repeat("ä", 200)},
	{"Subject: x\r\n\r\n" + strings.Repeat("a ", 300), strings.TrimSpace(strings.Repeat("a ", 100))},
}

func TestPreview(t *testing.T) {
	for _, tt := range previews {
		if got := Parse([]byte(tt.in)).Preview(); got != tt.want {
			t.Errorf("%.200q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// FuzzPreview: whatever comes, a preview is one short line.
func FuzzPreview(f *testing.F) {
	for _, tt := range previews {
		f.Add([]byte(tt.in))
	}
	for _, s := range []string{"<a href='", "<!--", "</", "<p ", "&#", "<script>"} {
		f.Add([]byte("Content-Type: text/html\r\n\r\n" + strings.Repeat(s, 500)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s string
		oracle.Cost(t, len(b), func() { s = Parse(b).Preview() })
		if utf8.RuneCountInString(s) > previewLen || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") || strings.TrimSpace(s) != s {
			t.Errorf("%q", s)
		}
	})
}

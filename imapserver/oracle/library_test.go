package oracle

import (
	"bufio"
	"encoding/pem"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/unicode/norm"
)

// libraryPatterns are what has undone parsers of the standard library and of
// golang.org/x/text, and is gone in the versions that go.mod asks for: some are
// called by what the daemon uses, and each is what somebody would call tomorrow.
var libraryPatterns = map[string]func(n int){
	"mail: domain literal": func(n int) { mail.ParseAddress("a@[" + strings.Repeat("x", n) + "]") },
	"mail: phrase":         func(n int) { mail.ParseAddress(strings.Repeat("a ", n/2) + "<a@b>") },
	"mail: comments":       func(n int) { mail.ParseAddress(strings.Repeat("(", n)) },
	"mail: quoted strings": func(n int) { mail.ParseAddress(strings.Repeat(`"\"" `, n/5) + "<a@b>") },
	"mail: list":           func(n int) { mail.ParseAddressList(strings.Repeat("a@b,", n/4)) },
	"mail: groups":         func(n int) { mail.ParseAddressList("g:" + strings.Repeat("a@b,", n/4) + ";") },
	"mime: encoded words":  func(n int) { new(mime.WordDecoder).DecodeHeader(strings.Repeat("=?utf-8?q?a?=", n/13)) },
	"mime: open words":     func(n int) { new(mime.WordDecoder).DecodeHeader(strings.Repeat("=?utf-8?q?", n/10)) },
	"mime: parameters":     func(n int) { mime.ParseMediaType("a/b" + strings.Repeat("; x*0*=a", n/8)) },
	"textproto: long line": func(n int) {
		textproto.NewReader(bufio.NewReader(strings.NewReader(strings.Repeat("x", n)))).ReadLine()
	},
	"textproto: header": func(n int) {
		textproto.NewReader(bufio.NewReader(strings.NewReader(strings.Repeat("a: b\r\n", n/6) + "\r\n"))).ReadMIMEHeader()
	},
	"textproto: response": func(n int) {
		textproto.NewReader(bufio.NewReader(strings.NewReader(strings.Repeat("250-x\r\n", n/7) + "250 x\r\n"))).ReadResponse(250)
	},
	"multipart: boundaries":  func(n int) { parts(strings.Repeat("--b\r\n\r\n", n/7)) },
	"multipart: near misses": func(n int) { parts("--b\r\n\r\n" + strings.Repeat("\r\n--", n/4)) },
	"quoted-printable": func(n int) {
		io.Copy(io.Discard, quotedprintable.NewReader(strings.NewReader(strings.Repeat("= \r\n", n/4))))
	},
	"pem: begins":         func(n int) { pem.Decode([]byte(strings.Repeat("-----BEGIN ", n/11))) },
	"pem: headers":        func(n int) { pem.Decode([]byte("-----BEGIN X-----\n" + strings.Repeat("a: b\n", n/5))) },
	"norm: bad UTF-8":     func(n int) { norm.NFKC.String(strings.Repeat("\xe2\x80", n/2)) },
	"norm: marks":         func(n int) { norm.NFD.String("a" + strings.Repeat("\u0300\u0316", n/4)) },
	"iso-2022-jp: shifts": func(n int) { japanese.ISO2022JP.NewDecoder().String(strings.Repeat("\x1b$B\x1b(B", n/6)) },
	"hz: shifts":          func(n int) { simplifiedchinese.HZGB2312.NewDecoder().String(strings.Repeat("~{~}", n/4)) },
	"gb18030: lone lead":  func(n int) { simplifiedchinese.GB18030.NewDecoder().String(strings.Repeat("\x81\x30", n/2)) },
}

func parts(body string) {
	r := multipart.NewReader(strings.NewReader(body), "b")
	for {
		p, err := r.NextPart()
		if err != nil {
			return
		}
		io.Copy(io.Discard, p)
	}
}

// TestLibraryIsLinear: eight times as much takes eight times as long, not sixty-four
// times. The shortest of some runs counts, by the thread's own processor time.
func TestLibraryIsLinear(t *testing.T) {
	if slow > 1 {
		t.Skip("the race detector's memory is measured, not the library; the same test runs without it")
	}
	const n = 16 << 10
	for name, f := range libraryPatterns {
		least := func(n int) time.Duration {
			best := time.Hour
			for range 5 {
				took, _ := measure(func() { f(n) })
				best = min(best, took)
			}
			return best
		}
		small, large := least(n), least(8*n)
		for range 3 { // a collection may fall into all of them
			if large <= 28*max(small, 20*time.Microsecond) {
				break
			}
			small, large = max(small, least(n)), min(large, least(8*n))
		}
		if large > 28*max(small, 20*time.Microsecond) {
			t.Errorf("%s: %v for %d octets, %v for %d", name, small, n, large, 8*n)
		}
	}
}

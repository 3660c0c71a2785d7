package message

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
)

// hostile makes messages of about n octets that have undone parsers.
var hostile = []struct {
	name string
	make func(n int) string
}{
	{"nested multiparts", func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String()
	}},
	{"nested messages", func(n int) string {
		return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n/32)
	}},
	{"many parts", func(n int) string {
		return "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\n", n/7)
	}},
	{"many digested messages", func(n int) string {
		return "Content-Type: multipart/digest; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\nFrom: a\r\n\r\n", n/18)
	}},
	{"deep, then lines like delimiters", func(n int) string {
		var b strings.Builder
		long := strings.Repeat("y", 900)
		for i := range maxDepth {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s%03d\r\n\r\n--%s%03d\r\n", long, i, long, i)
		}
		b.WriteString("\r\n")
		return b.String() + strings.Repeat("--"+long+"999--\r\n", n/909)
	}},
	{"boundaries as prefixes", func(n int) string {
		var b strings.Builder
		for i := range maxDepth {
			name := strings.Repeat("p", i+1)
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", name, name)
		}
		return b.String() + strings.Repeat("--"+strings.Repeat("p", maxDepth+1)+"\r\n", n/105)
	}},
	{"deep, then empty lines and a CR", func(n int) string { return nested(maxDepth) + strings.Repeat("\r\n", n/2) + "\r" }},
	{"addresses", func(n int) string { return "From: " + strings.Repeat("a,", n/2) + "\r\n\r\n" }},
	{"address fields", func(n int) string { return strings.Repeat("To: a@b\r\n", n/9) + "\r\n" }},
	{"groups", func(n int) string { return "To: " + strings.Repeat(":;", n/2) + "\r\n\r\n" }},
	{"angles", func(n int) string { return "To: " + strings.Repeat("<", n) + "\r\n\r\n" }},
	{"routes", func(n int) string { return "To: " + strings.Repeat("<@a,", n/4) + "\r\n\r\n" }},
	{"comments that end in a backslash", func(n int) string { return "To: " + strings.Repeat("(a\\", n/3) + "\r\n\r\n" }},
	{"quotes that end in a backslash", func(n int) string { return "To: " + strings.Repeat("\"a\\\" ", n/5) + "\r\n\r\n" }},
	{"comments", func(n int) string { return "To: " + strings.Repeat("(", n) + "\r\n\r\n" }},
	{"domains", func(n int) string { return "To: a@" + strings.Repeat("[a.", n/3) + "\r\n\r\n" }},
	{"dots and spaces", func(n int) string { return "To: " + strings.Repeat(" . a ", n/5) + "@b\r\n\r\n" }},
	{"parameters", func(n int) string {
		return "Content-Type: text/plain" + strings.Repeat("; a=b", n/5) + "\r\n\r\n"
	}},
	{"pieces of parameters", func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: text/plain")
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "; a*%d*=b", n-i)
		}
		return b.String() + "\r\n\r\n"
	}},
	{"languages", func(n int) string { return "Content-Language: " + strings.Repeat("a,", n/2) + "\r\n\r\n" }},
	{"encoded words", func(n int) string { return "Subject: " + strings.Repeat("=?utf-8?q?a?= ", n/14) + "\r\n\r\n" }},
	{"unfinished words", func(n int) string { return "Subject: " + strings.Repeat("=?a?q?", n/6) + "\r\n\r\n" }},
	{"words of many charsets", func(n int) string {
		return "Subject: " + strings.Repeat("=?koi8-r?q?a?= =?iso-2022-jp?q?a?=", n/35) + "\r\n\r\n"
	}},
	{"folds", func(n int) string { return "Subject: a" + strings.Repeat("\r\n ", n/3) + "\r\n\r\n" }},
	{"fields", func(n int) string { return strings.Repeat("a:\r\n", n/4) + "\r\n" }},
	{"no fields", func(n int) string { return strings.Repeat("a\r\n", n/3) + "\r\n" }},
	{"empty lines", func(n int) string { return strings.Repeat("\n", n) }},
	{"one line", func(n int) string { return strings.Repeat("a", n) }},
	{"one value", func(n int) string { return "Subject: " + strings.Repeat("a", n) }},
	{"quoted-printable", func(n int) string {
		return "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=  ", n/3)
	}},
	{"white space in quoted-printable", func(n int) string {
		return "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(" ", n/2) + strings.Repeat("= \t", n/6)
	}},
	{"base64", func(n int) string {
		return "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("A=\r\n", n/4)
	}},
	{"brackets", func(n int) string { return "Subject: " + strings.Repeat("[a]", n/3) + "\r\n\r\n" }},
	{"forwards", func(n int) string {
		return "Subject: " + strings.Repeat("[fwd: re[a]:", n/16) + strings.Repeat("](fwd) ", n/8) + "\r\n\r\n"
	}},
	{"references", func(n int) string { return "References: " + strings.Repeat("<a@b>", n/5) + "\r\n\r\n" }},
	{"no references", func(n int) string { return "References: " + strings.Repeat("<a@(", n/4) + "\r\n\r\n" }},
	{"dates", func(n int) string { return "Date: " + strings.Repeat("Feb ", n/4) + "\r\n\r\n" }},
}

// nested begins a message of so many multiparts inside each other.
func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	return b.String()
}

// answerAll asks everything of a message that a client can.
func answerAll(b []byte) {
	m := Parse(b)
	m.AppendEnvelope(nil)
	m.AppendBodyStructure(nil, false)
	m.AppendBodyStructure(nil, true)
	for _, s := range []imap.FetchItemBodySection{
		{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"To", "Subject"}},
		{Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: []string{"To"}},
		{Part: []int{1, 1, 1, 1}},
		{Part: []int{maxParts}},
	} {
		m.Section(&s)
	}
	io.Copy(io.Discard, m.HeaderText())
	for r := range m.Texts() {
		io.Copy(io.Discard, r)
	}
	m.Date()
	m.Overview()
	Text(b)
}

// TestHostileTime shows that four times the message is about four times the
// work: were it the square, it would be sixteen times.
func TestHostileTime(t *testing.T) {
	const size = 1 << 17
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			small, big := []byte(h.make(size)), []byte(h.make(4*size))
			for try := 0; ; try++ {
				one, four := cheapest(small), cheapest(big)
				if four < 9*one+10*time.Millisecond {
					break
				}
				if try == 4 {
					t.Fatalf("%d octets take %v, %d octets %v", len(small), one, len(big), four)
				}
			}
		})
	}
}

// cheapest is the processor time that the answers take.
func cheapest(b []byte) time.Duration {
	best := time.Hour
	for range 2 {
		best = min(best, processorTime(func() { answerAll(b) }))
	}
	return best
}

// processorTime is what this thread takes for fn, however busy the machine is.
func processorTime(fn func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := used()
	fn()
	return used() - start
}

// TestHostileWhole has each at 50 MiB, and a header of 1 GiB, and holds what its
// structure and envelope take of a processor and of memory.
func TestHostileWhole(t *testing.T) {
	if os.Getenv("MAILSTEAD_HOSTILE") == "" {
		t.Skip("takes a minute and 2 GiB: set MAILSTEAD_HOSTILE=1")
	}
	const mib = 1 << 20
	worst, most := time.Duration(0), uint64(0)
	try := func(name string, b []byte) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		took := processorTime(func() {
			m := Parse(b)
			m.AppendEnvelope(nil)
			m.AppendBodyStructure(nil, true)
			m.Section(&imap.FetchItemBodySection{Part: []int{1, 1}})
		})
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %v, %d MiB for %d MiB", name, took, used/mib, len(b)/mib)
		if took > time.Second || used > 64*mib {
			t.Errorf("%s: %v, %d MiB", name, took, used/mib)
		}
		worst, most = max(worst, took), max(most, used)
	}
	for _, h := range hostile {
		try(h.name, []byte(h.make(50*mib)))
	}
	try("one header", append([]byte("Subject: "), bytes.Repeat([]byte("a"), 1<<30)...))
	t.Logf("at most %v and %d MiB", worst, most/mib)
}

// TestHostileMemory holds what one message may allocate, all answers together.
func TestHostileMemory(t *testing.T) {
	const size = 1 << 20
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			b := []byte(h.make(size))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := Parse(b)
			m.AppendEnvelope(nil)
			m.AppendBodyStructure(nil, true)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 16*size {
				t.Errorf("%d octets made it allocate %d", len(b), used)
			}
		})
	}
}

// TestTruncated cuts a message everywhere.
func TestTruncated(t *testing.T) {
	whole := []byte(strings.ReplaceAll(`From: "Ann \" B" (c\)) <@r:a@[1.2.3.4]>, G: x@y, ;
Content-Type: multipart/mixed; boundary="b\"c"; a*0*=u''%41; a*1="b"

--b"c
Content-Type: message/rfc822
Content-Transfer-Encoding: base64

Subject: =?utf-8?q?=C3=A4?= =?koi8-r?b?8NLJ?=
Content-Type: text/plain; charset=iso-2022-jp
Content-Transfer-Encoding: quoted-printable

=1B$B4A;z=1B(B=
--b"c--
`, "\n", "\r\n"))
	for n := range whole {
		checkMessage(t, whole[:n:n])
		checkMessage(t, bytes.ReplaceAll(whole[:n:n], []byte("\r\n"), []byte("\n")))
	}
}

func TestLimits(t *testing.T) {
	parts := func(n int) string {
		return "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\ntext\r\n", n)
	}
	m := Parse([]byte(parts(maxParts + 10)))
	if n := len(m.root.parts); n != maxParts-1 {
		t.Errorf("%d parts beside the message, want %d", n, maxParts-1)
	}
	last, ok := m.Section(&imap.FetchItemBodySection{Part: []int{maxParts - 1}})
	if want := "text" + strings.Repeat("\r\n--x\r\n\r\ntext", 11) + "\r\n"; !ok || string(last) != want {
		t.Errorf("the last part is %q, want what follows too: %q", last, want)
	}

	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", maxDepth+1) + "\r\n"
	structure := string(Parse([]byte(deep)).AppendBodyStructure(nil, false))
	if n := strings.Count(structure, `"rfc822"`); n != maxDepth {
		t.Errorf("%d messages inside each other, want %d", n, maxDepth)
	}
	if !strings.Contains(structure, `"application" "octet-stream" NIL`) {
		t.Errorf("the innermost message is not octets: %.200s", structure[len(structure)-200:])
	}

	long := "X: " + strings.Repeat("x", MaxHeader) + "\r\nSubject: beyond\r\n\r\n"
	m = Parse([]byte(long))
	if e := string(m.AppendEnvelope(nil)); strings.Contains(e, "beyond") {
		t.Errorf("a field beyond the limit was found: %s", e)
	}
	if b, ok := m.Section(&imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader}); !ok || len(b) != len(long) {
		t.Errorf("the header is cut to %d octets", len(b))
	}

	var params strings.Builder
	for i := range maxParams + 1 {
		fmt.Fprintf(&params, "; p%d=v", i)
	}
	structure = string(Parse([]byte("Content-Type: a/b"+params.String()+"\r\n\r\n")).AppendBodyStructure(nil, false))
	if !strings.Contains(structure, fmt.Sprintf(`"p%d"`, maxParams-1)) || strings.Contains(structure, fmt.Sprintf(`"p%d"`, maxParams)) {
		t.Errorf("want %d parameters: %s", maxParams, structure)
	}
}

package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func written(f func(w *Writer)) string {
	var b bytes.Buffer
	w := NewWriter(&b)
	f(w)
	w.Flush()
	return b.String()
}

func TestWriter(t *testing.T) {
	tests := []struct {
		f    func(w *Writer)
		want string
	}{
		{func(w *Writer) { w.Status("a1", "OK", "", "done") }, "a1 OK done\r\n"},
		{func(w *Writer) { w.Status("", "BAD", "", "") }, "* BAD -\r\n"},
		{func(w *Writer) { w.Status("*", "OK", "UIDNEXT 5", "next") }, "* OK [UIDNEXT 5] next\r\n"},
		{func(w *Writer) { w.Status("*", "NO", "X]\r\n", "a\r\nb OK\x00ü") }, "* NO [X???] a??b OK???\r\n"},
		{func(w *Writer) { w.Error("t", &imap.Error{Type: "NO", Code: "CANNOT", Text: "no"}) }, "t NO [CANNOT] no\r\n"},
		{func(w *Writer) { w.Continue("") }, "+ \r\n"},
		{func(w *Writer) { w.Number(1 << 63) }, "9223372036854775808"},
		{func(w *Writer) { w.Flags([]imap.Flag{`\Seen`, "x", `\*`}, false) }, `(\Seen x \*)`},
		{func(w *Writer) { w.Flags(nil, false) }, "()"},
		{func(w *Writer) { w.Flags(nil, true) }, `(\Recent)`},
		{func(w *Writer) { w.Flags([]imap.Flag{"a b", "x", ")", "", `\`, "a\r\n", "ü"}, true) }, `(\Recent x)`},
		{func(w *Writer) { w.Mailbox("Entwürfe") }, `"Entw&APw-rfe"`},
		{func(w *Writer) { w.SetUTF8(); w.Mailbox("Entwürfe&\"") }, `"Entwürfe&\""`},
		{func(w *Writer) { w.SetUTF8(); w.Mailbox("a\r\n* BYE") }, "{8}\r\na\r\n* BYE"},
		{func(w *Writer) { w.SetUTF8(); w.String("\xff") }, "{1}\r\n\xff"},
		{func(w *Writer) { w.String("ü") }, "{2}\r\nü"},
		{func(w *Writer) { w.String("a\x00b") }, `"ab"`},
		{func(w *Writer) { w.AString("atom") }, "atom"},
		{func(w *Writer) { w.AString("") }, `""`},
		{func(w *Writer) { w.AString("a b") }, `"a b"`},
		{func(w *Writer) { w.Literal([]byte("a\x00b")) }, "{3}\r\na\x80b"},
		{func(w *Writer) { w.Literal(nil) }, "{0}\r\n"},
	}
	for _, tt := range tests {
		if got := written(tt.f); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	long := strings.Repeat("x", maxQuoted+1)
	for in, want := range map[string]string{
		"":          `""`,
		`a"b\c`:     `"a\"b\\c"`,
		"a\r\nb":    "{4}\r\na\r\nb",
		"\x00\n":    "{1}\r\n\n",
		"\x80":      "{1}\r\n\x80",
		long:        "{4097}\r\n" + long,
		"NIL":       `"NIL"`,
		"tab\t\x7f": "\"tab\t\x7f\"",
	} {
		if got := string(AppendString([]byte("pre "), in)); got != "pre "+want {
			t.Errorf("%.20q: got %.40q, want %.40q", in, got, want)
		}
	}
}

// A file may say that it is from a year that date-time does not have.
func TestAppendDateTime(t *testing.T) {
	zone := time.FixedZone("", -3600)
	for _, c := range []struct {
		t    time.Time
		want string
	}{
		{time.Date(2026, 2, 1, 3, 4, 5, 0, zone), `" 1-Feb-2026 03:04:05 -0100"`},
		{time.Date(0, 1, 1, 0, 0, 0, 0, zone), `" 1-Jan-0000 00:00:00 -0100"`},
		{time.Date(-5, 7, 1, 3, 4, 5, 0, zone), `" 1-Jan-0000 00:00:00 -0100"`},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, zone), `"31-Dec-9999 23:59:59 -0100"`},
		{time.Date(12026, 2, 1, 3, 4, 5, 0, zone), `"31-Dec-9999 23:59:59 -0100"`},
		{time.Unix(1<<62, 0).In(zone), `"31-Dec-9999 23:59:59 -0100"`},
	} {
		if got := string(AppendDateTime(nil, c.t)); got != c.want {
			t.Errorf("%v: got %s, want %s", c.t, got, c.want)
		}
	}
}

// What is larger than the buffer must come out whole and in order.
func TestWriterLarge(t *testing.T) {
	big := strings.Repeat("0123456789", held/5)
	got := written(func(w *Writer) {
		w.Raw("a")
		w.Raw(big)
		w.Bytes([]byte(big))
		w.Raw("b")
		w.String(big)
		w.Append(func(dst []byte) []byte { return append(append(dst, big...), 'c') })
		w.String(big[:held/5])
		w.Raw("d")
	})
	want := "a" + big + big + "b" + string(AppendString(nil, big)) + big + "c" + string(AppendString(nil, big[:held/5])) + "d"
	if got != want {
		t.Errorf("got %d octets, want %d", len(got), len(want))
	}
}

// Small responses go out together, and an idle Writer holds no memory.
func TestWriterBuffers(t *testing.T) {
	writes := 0
	w := NewWriter(writerFunc(func(p []byte) (int, error) { writes++; return len(p), nil }))
	for range 1000 {
		w.Status("*", "OK", "", "small")
	}
	w.Flush()
	if writes != 1 || w.page != nil {
		t.Errorf("%d writes, page %v", writes, w.page != nil)
	}
}

func TestWriterError(t *testing.T) {
	broken := errors.New("broken")
	w := NewWriter(writerFunc(func(p []byte) (int, error) { return 0, broken }))
	w.Raw("x")
	if err := w.Flush(); err != broken {
		t.Errorf("got %v", err)
	}
	w.Raw("y")
	if err := w.Flush(); err != broken || w.Err() != broken {
		t.Errorf("later: %v, %v", err, w.Err())
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCapabilities(t *testing.T) {
	for phase, want := range map[Phase]string{
		PhaseNoTLS: "IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED LOGIN-REFERRALS",
		PhaseClear: "IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE STARTTLS AUTH=SCRAM-SHA-256 AUTH=OAUTHBEARER AUTH=XOAUTH2 AUTH=PLAIN AUTH=LOGIN LOGIN-REFERRALS",
		PhaseTLS:   "IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=EXTERNAL AUTH=OAUTHBEARER AUTH=XOAUTH2 AUTH=PLAIN AUTH=LOGIN LOGIN-REFERRALS",
		PhaseAuth: "IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE SPECIAL-USE XLIST LIST-EXTENDED" +
			" LIST-STATUS STATUS=SIZE ESEARCH SEARCHRES WITHIN SEARCH=FUZZY PARTIAL CONTEXT=SEARCH MULTISEARCH SORT" +
			" SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS I18NLEVEL=1 INPROGRESS UTF8=ACCEPT" +
			" CONDSTORE QRESYNC UIDONLY UNAUTHENTICATE QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE QUOTASET ACL RIGHTS=texk" +
			" LIST-MYRIGHTS METADATA LIST-METADATA NOTIFY BINARY MULTIAPPEND CATENATE REPLACE PREVIEW UIDBATCHES" +
			" COMPRESS=DEFLATE APPENDLIMIT=104857600 SAVEDATE OBJECTID CREATE-SPECIAL-USE",
	} {
		if got := string(AppendCapabilities(nil, phase)); got != want {
			t.Errorf("phase %d: got %s, want %s", phase, got, want)
		}
	}
	if got := string(AppendCapabilities(nil, PhaseNoTLS, "STARTTLS", "ID")); strings.Contains(got, "STARTTLS") || strings.Contains(got, " ID ") {
		t.Errorf("switched off but there: %s", got)
	}
}

// What the tables name must exist once, and each extension's command belongs to
// an advertised capability.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	unique := func(name string) {
		t.Helper()
		if seen[name] || name == "" {
			t.Errorf("%q is there twice, or empty", name)
		}
		seen[name] = true
	}
	caps := map[imap.Cap]bool{"": true}
	for _, row := range Capabilities {
		unique("capability " + string(row.Name))
		caps[row.Name] = true
	}
	for _, row := range Commands {
		unique("command " + row.Name)
		if !caps[row.Cap] || row.RFC == 0 && row.Cap != capXList || row.States == 0 || row.parse == nil {
			t.Errorf("command %s is incomplete", row.Name)
		}
	}
	for _, row := range FetchItems {
		unique("fetch " + row.Name)
	}
	for _, row := range SearchKeys {
		unique("search " + row.Name)
		if (row.parse == nil) == (row.keys == 0) {
			t.Errorf("search key %s: neither or both of parse and keys", row.Name)
		}
	}
	for _, row := range StatusItems {
		unique("status " + string(row.Item))
	}
}

func BenchmarkReadCommand(b *testing.B) {
	line := "a1 UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM)])\r\n"
	r := NewReader(strings.NewReader(strings.Repeat(line, b.N)), NewWriter(io.Discard), &PostAuth)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := r.ReadCommand(Selected); err != nil {
			b.Fatal(err)
		}
	}
}

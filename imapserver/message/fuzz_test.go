package message

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailstead/imapserver/oracle"
)

// FuzzParse holds checkMessage for any octets.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		raw := string(txtarFile(ar, "message").Data)
		f.Add([]byte(strings.ReplaceAll(raw, "\n", "\r\n")))
	}
	for _, h := range hostile {
		f.Add([]byte(h.make(300)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		oracle.Cost(t, len(b), func() {
			m := Parse(b)
			m.AppendEnvelope(nil)
			m.AppendBodyStructure(nil, true)
			m.Overview()
		})
		checkMessage(t, b)
	})
}

// checkMessage holds what is true of every message: the answers follow the
// grammar, entities lie inside each other, sections agree with the structure.
func checkMessage(t *testing.T, b []byte) {
	t.Helper()
	m := Parse(b)
	if err := oracle.Envelope(string(m.AppendEnvelope(nil))); err != nil {
		t.Errorf("%q: ENVELOPE: %v", b, err)
	}
	for _, extended := range []bool{false, true} {
		s := string(m.AppendBodyStructure(nil, extended))
		if err := oracle.Structure(s, extended); err != nil {
			t.Errorf("%q: BODYSTRUCTURE: %v", b, err)
		}
	}
	checkEntity(t, m, m.root, 0, len(b), 0)
	checkSections(t, m)
	for r := range m.Texts() {
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%q: text: %v", b, err)
		}
	}
	if text, err := io.ReadAll(m.HeaderText()); err != nil || !utf8.Valid(text) {
		t.Errorf("%q: header: %q, %v", b, text, err)
	}
	m.Date()
	checkOverview(t, m)
}

func checkOverview(t *testing.T, m *Message) {
	t.Helper()
	o := m.Overview()
	header, _ := m.Section(&imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader})
	if alone := Parse(header).Overview(); !cmp.Equal(alone, o) && len(header) <= MaxHeader {
		t.Errorf("%q: overview %+v, of the header alone %+v", m.raw, o, alone)
	}
	if back, err := ParseOverview(o.Append(nil)); err != nil || !cmp.Equal(back, o) {
		t.Errorf("%q: overview %+v, encoded and parsed %+v, %v", m.raw, o, back, err)
	}
}

// FuzzParseOverview holds that what is taken for an encoded Overview is one.
func FuzzParseOverview(f *testing.F) {
	for _, o := range overviews {
		f.Add(o.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Overview
		var err error
		oracle.Cost(t, len(b), func() { o, err = ParseOverview(b) })
		if err == nil && string(o.Append(nil)) != string(b) {
			t.Errorf("%q is taken for %+v", b, o)
		}
		if sent, serr := OverviewSent(b); err == nil && (serr != nil || !sent.Equal(o.Sent)) {
			t.Errorf("%q: sent %v, %v, want %v", b, sent, serr, o.Sent)
		}
	})
}

func checkEntity(t *testing.T, m *Message, e *entity, start, end, depth int) {
	t.Helper()
	if e.start < start || e.fieldsEnd < e.start || e.body < e.fieldsEnd || e.end < e.body || end < e.end {
		t.Fatalf("%q: entity %d,%d,%d,%d is not inside %d,%d", m.raw, e.start, e.fieldsEnd, e.body, e.end, start, end)
	}
	if n := strings.Count(string(m.body(e)), "\n"); n != e.lines {
		t.Fatalf("%q: entity %d,%d has %d lines, want %d", m.raw, e.body, e.end, e.lines, n)
	}
	if depth > maxDepth || e.depth != depth {
		t.Fatalf("%q: depth %d at %d", m.raw, e.depth, depth)
	}
	if (e.kind == kindLeaf) != (len(e.parts) == 0) {
		t.Fatalf("%q: kind %d with %d parts", m.raw, e.kind, len(e.parts))
	}
	at := e.body
	for _, part := range e.parts {
		checkEntity(t, m, part, at, e.end, depth+1)
		at = part.end
	}
}

func checkSections(t *testing.T, m *Message) {
	t.Helper()
	get := func(s imap.FetchItemBodySection) string {
		b, ok := m.Section(&s)
		if !ok {
			t.Errorf("%q: no section %+v", m.raw, s)
		}
		return string(b)
	}
	header, text := get(imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader}), get(imap.FetchItemBodySection{Specifier: imap.PartSpecifierText})
	if header+text != string(m.raw) {
		t.Errorf("%q: header %q and text %q are not the whole", m.raw, header, text)
	}
	names := []string{"subject", "Content-Type"}
	some := get(imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: names})
	rest := get(imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: names})
	if empty := len(header) - len(strings.TrimSuffix(strings.TrimSuffix(header, "\n"), "\r")); len(some)+len(rest) < len(header) || len(some)+len(rest) > len(header)+empty {
		t.Errorf("%q: header %q parted into %q and %q", m.raw, header, some, rest)
	}
	first := get(imap.FetchItemBodySection{Part: []int{1}})
	if m.root.kind != kindMultipart && first != text {
		t.Errorf("%q: part 1 is %q, text %q", m.raw, first, text)
	}
	if _, ok := m.Section(&imap.FetchItemBodySection{Part: []int{len(m.root.parts) + 2}}); ok {
		t.Errorf("%q: a part beyond the last", m.raw)
	}
}

// FuzzAddresses holds that any field gives a list that the grammar has.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"", `"A \" B" (c) <@r,@s:"x y".z@[1.2.3.4]>, G: a@b, c;, (d)`, "a(b(c)\\", "<<>>::;;,,@@"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		left := maxAddresses
		var have string
		oracle.Cost(t, len(value), func() {
			left = maxAddresses
			have = string(appendList(nil, [][]byte{value, value}, &left))
		})
		if err := oracle.Addresses(have); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	})
}

// FuzzDecodeHeader holds that any value becomes UTF-8 of no great length.
func FuzzDecodeHeader(f *testing.F) {
	for _, s := range []string{"=?utf-8?q?=C3?= =?utf-8?b?vA==?=", "=?iso-2022-jp?b?GyRCNEE7ehsoQg==?=\r\n x", "=?gbk*zh?q?=b0=a1?="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var have string
		oracle.Cost(t, len(value), func() { have = DecodeHeader(value) })
		if !utf8.ValidString(have) || len(have) > 8*len(value) {
			t.Errorf("%q became %q", value, have)
		}
	})
}

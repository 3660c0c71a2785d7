package wire

import (
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

var urls = []struct {
	in   string
	want *URL // nil: refused
}{
	{"/INBOX/;UID=20", &URL{Mailbox: "INBOX", UID: 20, Section: &imap.FetchItemBodySection{Peek: true}}},
	{"/a.b%2Fc;UIDVALIDITY=7/;uid=1/;section=1.2.MIME", &URL{"a.b/c", 7, 1,
		&imap.FetchItemBodySection{Peek: true, Part: []int{1, 2}, Specifier: "MIME"}}},
	{"/Gr%C3%BCn;x/;UID=1/;SECTION=HEADER.FIELDS%20(DATE%20FROM)/;PARTIAL=5.9", &URL{"Grün;x", 0, 1,
		&imap.FetchItemBodySection{Peek: true, Specifier: "HEADER", HeaderFields: []string{"DATE", "FROM"}, Partial: &imap.SectionPartial{Offset: 5, Size: 9}}}},
	{";UID=3/;PARTIAL=0", &URL{"", 0, 3, &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: 1<<63 - 1}}}},
	{"/a/b/;UID=1", &URL{Mailbox: "a/b", UID: 1, Section: &imap.FetchItemBodySection{Peek: true}}},
	{"", nil},
	{"/", nil},
	{"/INBOX", nil},
	{"/INBOX?SUBJECT%20x", nil},
	{"/INBOX/;UID=0", nil},
	{"/INBOX/;UID=4294967296", nil},
	{"/INBOX/;UID=*", nil},
	{"/INBOX/;UID=1/", nil},
	{"/INBOX/;UID=1/;UID=2", nil},
	{"/INBOX/;SECTION=1", nil},
	{"/INBOX/;UID=1/;SECTION=TEXTx", nil},
	{"/INBOX/;UID=1/;SECTION=1]", nil},
	{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(A]%20%22B%22)", &URL{"INBOX", 0, 1,
		&imap.FetchItemBodySection{Peek: true, Specifier: "HEADER", HeaderFields: []string{"A]", "B"}}}},
	{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B500%7D%0D%0Aabc", nil},
	{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B3%7D%0D%0Aabc)", nil},
	{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B3+%7D%0D%0Aabc)", nil},
	{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(" + strings.Repeat("A", readAhead-len("HEADER.FIELDS ()]")) + ")]x", nil},
	{"/INBOX/;UID=1/;PARTIAL=1.0", nil},
	{"/INBOX/;UID=1/;PARTIAL=1.2/;SECTION=1", nil},
	{"/INBOX/;UID=1/;URLAUTH=x", nil},
	{"/INBOX;UIDVALIDITY=0/;UID=1", nil},
	{"/%FF/;UID=1", nil},
	{"/%/;UID=1", nil},
	{"//host/INBOX/;UID=1", nil},
	{"imap://host/INBOX/;UID=1", nil},
	{"/;UID=1", nil},
}

func TestParseURL(t *testing.T) {
	for _, tt := range urls {
		got, err := ParseURL(tt.in)
		if (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %+v, %v", tt.in, got, err)
		} else if tt.want != nil {
			if diff := cmp.Diff(*tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.in, diff)
			}
		}
	}
}

// FuzzParseURL: what is read names a message.
func FuzzParseURL(f *testing.F) {
	for _, u := range urls {
		f.Add(u.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		oracle.Cost(t, len(s), func() { ParseURL(s) })
		u, err := ParseURL(s)
		if err == nil && (u.UID == 0 || u.Section == nil || u.Section.Partial != nil && (u.Section.Partial.Offset < 0 || u.Section.Partial.Size <= 0)) {
			t.Errorf("%q: %+v", s, u)
		}
	})
}

package transfer

import (
	"context"
	"fmt"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// takeout says where the messages of an archive go, "INBOX \Flagged" for each, in their order.
// A field is written as it is given.
func takeout(t *testing.T, fields ...string) (where []string) {
	t.Helper()
	var b strings.Builder
	for i, f := range fields {
		fmt.Fprintf(&b, "From %d@xxx Thu Jan 01 10:00:00 +0000 2015\n%sSubject: %d\n\ntext\n\n", i, f, i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "All mail.mbox"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &Mbox{Path: dir}
	boxes, err := m.Mailboxes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	at := map[int64]string{}
	var starts []int64
	for _, box := range boxes {
		for _, msg := range m.found[box.Name] {
			use := strings.TrimPrefix(string(box.Use), `\`)
			at[msg.start] = strings.Join(slices.DeleteFunc([]string{box.Name, use, msg.Flags}, func(s string) bool { return s == "" }), " ")
			starts = append(starts, msg.start)
		}
	}
	slices.Sort(starts)
	for _, s := range starts {
		where = append(where, at[s])
	}
	return where
}

func labelField(labels ...string) string {
	return "X-Gmail-Labels: " + mime.QEncoding.Encode("UTF-8", strings.Join(labels, ",")) + "\n"
}

// folded is a field as Takeout folds it: an encoded word a line.
func folded(field string) string { return strings.ReplaceAll(field, "?= =?", "?=\n =?") }

// TestGmailLanguages places the messages of an account in every language that is known.
func TestGmailLanguages(t *testing.T) {
	for _, row := range gmailLanguages {
		if len(row) != int(labelCategory) {
			t.Fatalf("%s: %d labels", row[0], len(row))
		}
		words := wordsOf(row)
		for i, names := range row[:labelCategory-1] {
			for name := range strings.SplitSeq(names, "|") {
				if got := words.of(name); got != gmailLabel(i+1) {
					t.Errorf("%s: %s is label %d, not %d", row[0], name, got, i+1)
				}
			}
		}
		word := func(l gmailLabel) string { return strings.Split(row[l-1], "|")[0] }
		got := takeout(t,
			folded(labelField(word(labelInbox), word(labelImportant), word(labelUnread), word(labelStarred))),
			folded(labelField(word(labelSent), word(labelOpened))),
			folded(labelField(word(labelArchived), word(labelOpened), word(labelCategory)+"\u00a0\"X\"", word(labelMuted))),
			folded(labelField(word(labelTrash), word(labelInbox))),
			folded(labelField(word(labelSpam))),
			folded(labelField(word(labelDrafts))),
			folded(labelField(word(labelOpened), `"Straße, alt/Übung"`, word(labelArchived))),
			folded(labelField(word(labelChat), "Архів кота")),
		)
		want := []string{`INBOX \Flagged`, `Sent Sent \Seen`, `Archive Archive \Seen`, `Trash Trash \Seen`, `Junk Junk \Seen`, `Drafts Drafts \Draft \Seen`, `Straße, alt/Übung \Seen`, `Архів кота \Seen`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", row[0], diff)
		}
	}
}

// TestGmailFields reads fields as they have been seen.
func TestGmailFields(t *testing.T) {
	for name, test := range map[string]struct{ fields, want []string }{
		"German": {[]string{
			"X-Gmail-Labels: =?UTF-8?Q?Posteingang,Wichtig,Ungelesen,Kategorie:_=22Neuigkeiten=22?=\n",
			"X-Gmail-Labels: =?UTF-8?Q?Archiviert,Ge=C3=B6ffnet,Kategorie:_=22Privat=22?=\n",
		}, []string{"INBOX", `Archive Archive \Seen`}},
		"French": {[]string{
			"X-Gmail-Labels: =?UTF-8?Q?Messages_archiv=C3=A9s,Ouvert,Cat=C3=A9gorie=C2=A0:_E-mails_?=\n =?UTF-8?Q?personnels,\"Culture,_associations,_=C3=A9v=C3=A9nements\"?=\n",
			"X-Gmail-Labels: =?UTF-8?Q?Archiv=C3=A9s,Envoy=C3=A9?=\n",
			"X-Gmail-Labels: =?UTF-8?Q?Bo=C3=AEte_de_r=C3=A9ception,Non_lus?=\n",
		}, []string{`Culture, associations, événements \Seen`, `Sent Sent \Seen`, "INBOX"}},
		"Czech": {[]string{
			"X-Gmail-Labels: =?UTF-8?Q?Archivov=C3=A1no,Kategorie:_Soci=C3=A1?=\n =?UTF-8?Q?ln=C3=AD_s=C3=ADt=C4=9B,Nep=C5=99e=C4=8Dten=C3=A9,Facebook?=\n",
		}, []string{"Facebook"}},
		"Korean": {[]string{
			"X-Gmail-Labels: =?UTF-8?B?67Cb7J2A7Y647KeA7ZWoLOykkeyalO2OuOyngO2VqCzsoITrnrXsi6Q=?=\n",
		}, []string{`INBOX \Seen`}},
		"own words in another language": {[]string{
			"X-Gmail-Labels: Papierkorb,Opened\n", "X-Gmail-Labels: Archived,Opened,Gesendet\n", "X-Gmail-Labels: Inbox,Unread\n",
		}, []string{`Papierkorb \Seen`, `Gesendet \Seen`, "INBOX"}},
		"a language that is not known": {[]string{
			"X-Gmail-Labels: =?UTF-8?Q?Be=C3=A9rkez=C5=91_levelek?=\n",
		}, []string{`Beérkező levelek \Seen`}},
		"no label, two fields, quotes": {[]string{
			"X-Gmail-Labels: \n", "X-Gmail-Labels: Opened\nX-Gmail-Labels: Work\n", "X-Gmail-Labels: Opened,\"a \"\"b\"\", c\" ,d\n", "X-Gmail-Labels: Opened,\"half\n", "X-Gmail-Labels: Opened,\"a\"b\n",
			"Status: RO\n", "X-Gmail-Labels: =?X-NO?Q?W=FFrk?=,Opened\n",
		}, []string{"All mail", `Work \Seen`, `a "b", c \Seen`, `"half \Seen`, `"a"b \Seen`, `All mail \Seen`, `=?X-NO?Q?W=FFrk?= \Seen`}},
	} {
		if diff := cmp.Diff(test.want, takeout(t, test.fields...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

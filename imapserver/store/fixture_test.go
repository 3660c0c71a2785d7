package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
)

// truth is what the real server said of a Maildir in testdata.
type truth struct {
	Mailboxes  []truthBox
	Subscribed []string `json:"subscribed_names_in_file"`
	LSub       []string
	List       []struct {
		Name  string
		Attrs []string
	}
}

type truthBox struct {
	Name        string
	Dir         string
	UIDValidity *uint32
	UIDNext     imap.UID
	Status      struct{ Messages, Unseen uint32 }
	Messages    []truthMessage

	// Of Dovecot: what is different once its index is gone, which we do not read.
	WithoutIndex struct {
		Messages map[string]struct{ Keywords []string }
	} `json:"without_index"`

	// Of mbsync: the server that the messages are from, and what is only here.
	FarValidity uint32     `json:"far_uidvalidity"`
	FarNext     imap.UID   `json:"far_uidnext"`
	NearOnly    []struct{} `json:"near_only"`
}

type truthMessage struct {
	UID      imap.UID
	Flags    []string
	Keywords []string
	Date     int64 `json:"internaldate_unix"`
	Size     int64 `json:"rfc822_size"`
	SHA256   string

	FarUID    imap.UID `json:"far_uid"`
	NearFlags string   `json:"near_flags"`
	NearSame  bool     `json:"near_minus_xtuid_matches_sha256"`
}

// readTruth reads it, and makes our names of Courier's.
func readTruth(t *testing.T, set string) truth {
	t.Helper()
	data, err := os.ReadFile("testdata/" + set + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var tr truth
	if err := json.Unmarshal(data, &tr); err != nil {
		t.Fatal(err)
	}
	for i := range tr.Mailboxes {
		box := &tr.Mailboxes[i]
		box.Name = ourName(box.Name)
		for n := range box.Messages {
			m := &box.Messages[n]
			if bare, ok := box.WithoutIndex.Messages[uidString(m.UID)]; ok {
				m.Keywords = bare.Keywords
			}
			slices.Sort(m.Keywords)
			slices.Sort(m.Flags)
		}
	}
	for i := range tr.List {
		tr.List[i].Name = ourName(tr.List[i].Name)
	}
	if tr.Subscribed == nil {
		tr.Subscribed = tr.LSub
	}
	return tr
}

func ourName(name string) string {
	return strings.TrimPrefix(name, "INBOX.")
}

// TestFixture serves Maildirs that Courier and Dovecot have made, and holds
// everything that a client can see against what these said; once at first
// contact, once from the index.
func TestFixture(t *testing.T) {
	for _, set := range []string{"courier-A", "dovecot-A"} {
		t.Run(set, func(t *testing.T) {
			dir := filepath.Join(untar(t, set+".tar.gz"), "Maildir")
			tr := readTruth(t, set)
			a := openAccount(t, dir)
			for _, when := range []string{"first contact", "from the index"} {
				for _, box := range tr.Mailboxes {
					t.Run(when+"/"+box.Name, func(t *testing.T) { box.check(t, a, dir) })
				}
				a = reopen(t, a)
			}
			testFixtureList(t, a, tr)
		})
	}
}

func (box truthBox) check(t *testing.T, a *Account, dir string) {
	st, err := a.Status(context.Background(), box.Name, false)
	if err != nil {
		t.Fatal(err)
	}
	if st.Messages != box.Status.Messages || st.Unseen != box.Status.Unseen || st.UIDNext != box.UIDNext {
		t.Errorf("status is %+v, want %+v uidnext %d", st, box.Status, box.UIDNext)
	}
	v := selectBox(t, a, box.Name, false)
	if box.UIDValidity != nil && v.UIDValidity() != *box.UIDValidity {
		t.Errorf("uidvalidity is %d, want %d", v.UIDValidity(), *box.UIDValidity)
	}
	if v.UIDValidity() != st.UIDValidity || v.UIDNext() != box.UIDNext {
		t.Errorf("uidvalidity %d, uidnext %d; want %d, %d", v.UIDValidity(), v.UIDNext(), st.UIDValidity, box.UIDNext)
	}
	if diff := cmp.Diff(box.Messages, shown(t, v)); diff != "" {
		t.Error(diff)
	}
	if n := files(t, dir, box.Dir, "new"); len(n) > 0 {
		t.Errorf("SELECT has left %q in new", n)
	}
}

func shown(t *testing.T, v *View) []truthMessage {
	all := []truthMessage{}
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		m := v.At(n)
		tm := truthMessage{UID: m.UID, Flags: []string{}, Keywords: []string{}, Date: m.InternalDate.Unix()}
		for _, f := range m.Flags {
			if strings.HasPrefix(string(f), `\`) {
				tm.Flags = append(tm.Flags, string(f))
			} else {
				tm.Keywords = append(tm.Keywords, string(f))
			}
		}
		slices.Sort(tm.Flags)
		var err error
		if tm.Size, err = v.Size(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(read(t, v, n)))
		tm.SHA256 = hex.EncodeToString(sum[:])
		all = append(all, tm)
	}
	return all
}

func testFixtureList(t *testing.T, a *Account, tr truth) {
	list, err := a.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var names, subscribed []string
	for _, e := range list {
		if e.Exists || !e.Subscribed {
			names = append(names, e.Name)
		}
		if e.Subscribed {
			subscribed = append(subscribed, e.Name)
		}
		if want := e.Name != "Projects" && e.Name != "Gone"; e.Selectable != want || e.Exists != want {
			t.Errorf("%+v", e)
		}
	}
	var want, wantSubscribed []string
	for _, l := range tr.List {
		want = append(want, l.Name)
	}
	for _, name := range tr.Subscribed {
		if !strings.HasPrefix(name, "#") {
			wantSubscribed = append(wantSubscribed, ourName(name))
		}
	}
	for _, l := range [][]string{names, subscribed, want, wantSubscribed} {
		slices.Sort(l)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wantSubscribed, subscribed); diff != "" {
		t.Error(diff)
	}
}

// TestMbsyncFixture serves what mbsync has pulled, once it is Maildir++: with the UIDs that the
// messages have on their server, what is there no more behind them.
func TestMbsyncFixture(t *testing.T) {
	tr := readTruth(t, "mbsync-A")
	dir := filepath.Join(untar(t, "mbsync-A.tar.gz"), "mbA")
	moves, err := maildir.PlanFlat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := new(maildir.Ops).Flatten(dir, moves); err != nil {
		t.Fatal(err)
	}
	a := openAccount(t, dir)
	for _, when := range []string{"first contact", "from the index"} {
		for _, box := range tr.Mailboxes {
			t.Run(when+"/"+box.Name, func(t *testing.T) {
				v := selectBox(t, a, box.Name, false)
				if v.UIDValidity() != box.FarValidity {
					t.Errorf("uidvalidity %d, want %d", v.UIDValidity(), box.FarValidity)
				}
				box.checkPulled(t, shown(t, v))
			})
		}
		a = reopen(t, a)
	}
}

// checkPulled compares what mbsync keeps: all but keywords other than
// $Forwarded, and the octets, to which it adds a line.
func (box truthBox) checkPulled(t *testing.T, got []truthMessage) {
	const xtuid = int64(len("X-TUID: 123456789012\r\n"))
	want := slices.Clone(box.Messages)
	same := make([]bool, len(got))
	for n := range want {
		want[n].UID, want[n].FarUID = want[n].FarUID, 0
		want[n].SHA256 = ""
		want[n].Keywords = []string{}
		if strings.Contains(want[n].NearFlags, "P") {
			want[n].Keywords = []string{string(imap.FlagForwarded)}
		}
		same[n] = want[n].NearSame
		want[n].NearFlags, want[n].NearSame = "", false
		if !same[n] {
			want[n].Size = 0 // mbsync has taken a CR out
		}
	}
	if len(got) != len(want)+len(box.NearOnly) {
		t.Fatalf("%d messages, want %d", len(got), len(want)+len(box.NearOnly))
	}
	for n := range got {
		got[n].Size -= xtuid
		if !same[n] {
			got[n].Size = 0
		}
		got[n].SHA256 = ""
		if n >= len(want) && got[n].UID < box.FarNext {
			t.Errorf("a message that the server has no more has the UID %d", got[n].UID)
		}
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Error(diff)
	}
}

// TestExamineLeavesNew holds that EXAMINE and STATUS move nothing, and that
// the UIDs they have shown stay.
func TestExamineLeavesNew(t *testing.T) {
	dir := filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir")
	a := openAccount(t, dir)
	before := files(t, dir, "new")
	v := selectBox(t, a, "INBOX", true)
	examined := shown(t, v)
	if after := files(t, dir, "new"); !slices.Equal(before, after) || len(after) == 0 {
		t.Errorf("new had %q, has %q", before, after)
	}
	deliver(t, dir, "1.first", "Subject: older by name\n\nx\n")
	a = reopen(t, a)
	got := shown(t, selectBox(t, a, "INBOX", false))
	if diff := cmp.Diff(examined, got[:len(got)-1]); diff != "" {
		t.Error(diff)
	}
	if n := files(t, dir, "new"); len(n) > 0 {
		t.Errorf("SELECT has left %q in new", n)
	}
}

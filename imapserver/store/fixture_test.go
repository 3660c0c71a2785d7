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
)

// truth is what the real Courier said of the Maildir in testdata.
type truth struct {
	Mailboxes []struct {
		Name        string
		Dir         string
		UIDValidity *uint32
		UIDNext     imap.UID
		Status      struct{ Messages, Unseen uint32 }
		Messages    []truthMessage
	}
	Subscribed []string `json:"subscribed_names_in_file"`
	List       []struct {
		Name  string
		Attrs []string
	}
}

type truthMessage struct {
	UID      imap.UID
	Flags    []string
	Keywords []string
	Date     int64 `json:"internaldate_unix"`
	Size     int64 `json:"rfc822_size"`
	SHA256   string
}

func readTruth(t *testing.T) truth {
	t.Helper()
	data, err := os.ReadFile("testdata/courier-A.json")
	if err != nil {
		t.Fatal(err)
	}
	var tr truth
	if err := json.Unmarshal(data, &tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

func ourName(name string) string {
	return strings.TrimPrefix(name, "INBOX.")
}

// TestFixture serves a Maildir that Courier has made, and holds everything
// that a client can see against what Courier said; once at first contact, once
// from the index.
func TestFixture(t *testing.T) {
	dir := filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir")
	tr := readTruth(t)
	a := openAccount(t, dir)
	for _, when := range []string{"first contact", "from the index"} {
		for _, box := range tr.Mailboxes {
			t.Run(when+"/"+box.Name, func(t *testing.T) {
				st, err := a.Status(context.Background(), ourName(box.Name), false)
				if err != nil {
					t.Fatal(err)
				}
				if st.Messages != box.Status.Messages || st.Unseen != box.Status.Unseen || st.UIDNext != box.UIDNext {
					t.Errorf("status is %+v, want %+v uidnext %d", st, box.Status, box.UIDNext)
				}
				v := selectBox(t, a, ourName(box.Name), false)
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
			})
		}
		a = reopen(t, a)
	}
	testFixtureList(t, a, tr)
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
		want = append(want, ourName(l.Name))
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

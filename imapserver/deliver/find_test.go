package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/config"
)

// write makes a table of users with those names.
func write(t *testing.T, path string, mode os.FileMode, h config.DeliveryHead, names ...string) {
	t.Helper()
	var rows []config.Delivery
	for i, n := range names {
		rows = append(rows, config.Delivery{Name: n, UID: 1000 + i, GID: 1000, Maildir: "/home/" + n + "/Maildir"})
	}
	var b bytes.Buffer
	if err := config.EncodeDeliveries(&b, h, rows); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", b.Bytes(), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

var head = config.DeliveryHead{Domains: []string{"example.org"}, Detail: "+"}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, config.SystemDeliveries), 0o644, head, "alice", "bob", "Carl", "odd+name", "Zoe", "zoe", "Ida", "uwe")
	write(t, filepath.Join(dir, config.VirtualDeliveries), 0o640, head, "alice@other.org", "bob@example.org", "d\"<é>@example.org", "ida", "Uwe")
	tables := NewTables(dir)
	for _, row := range []struct{ address, user, mailbox string }{
		{"alice", "alice", ""}, {"Alice", "alice", ""}, {"alice@example.org", "alice", ""}, {"ALICE@Example.ORG", "alice", ""},
		{"alice+Lists.go@example.org", "alice", "Lists.go"}, {"alice+a+b", "alice", "a+b"}, {"alice+", "alice", ""}, {"alice+trash@example.org", "alice", ""},
		{"Carl@example.org", "Carl", ""}, {"carl", "Carl", ""}, {"CARL+x@example.org", "Carl", "x"}, {"Zoe", "Zoe", ""}, {"zoe", "zoe", ""}, {"ZOE", "zoe", ""},
		{"odd+name", "odd+name", ""}, {"odd+name+x", "", ""}, {"odd@example.org", "", ""},
		{"alice@other.org", "alice@other.org", ""}, {"Alice+x@Other.org", "alice@other.org", "x"},
		// Two names that differ by capitals alone, one in each table.
		{"Ida", "Ida", ""}, {"ida+x@example.org", "ida", "x"}, {"IDA", "ida", ""}, {"Uwe@example.org", "Uwe", ""}, {"uwe", "uwe", ""}, {"UWE", "uwe", ""},
		// The whole address is the name of one, and its local part that of another.
		{"bob", "bob", ""}, {"bob@example.org", "bob@example.org", ""}, {"Bob+x@example.org", "bob@example.org", "x"},
		{"bob@other.org", "", ""}, {"bob@mail.example.org", "", ""}, {"d\"<é>@example.org", "d\"<é>@example.org", ""},
		{"", "", ""}, {"@example.org", "", ""}, {"+x", "", ""}, {"alic", "", ""}, {"alice\",\"uid\":0,\"x", "", ""}, {"alice\n", "", ""},
		{"bob@", "", ""}, {"a@b@example.org", "", ""},
	} {
		got, err := tables.Find(row.address)
		if got.Name != row.user || got.Mailbox != row.mailbox || (row.user == "") != errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %q %q %v", row.address, got.Name, got.Mailbox, err)
		}
	}
	// A table that was replaced counts at once.
	write(t, filepath.Join(dir, config.SystemDeliveries), 0o644, head, "erna")
	if _, err := tables.Find("alice"); !errors.Is(err, ErrUnknown) {
		t.Errorf("somebody who is gone: %v", err)
	}
	if r, err := tables.Find("erna"); err != nil || r.UID != 1000 {
		t.Errorf("somebody new: %+v %v", r, err)
	}
}

// TestFindIsNotFinal: mail of users who may be there is not returned.
func TestFindIsNotFinal(t *testing.T) {
	missing := NewTables(t.TempDir())
	open := t.TempDir()
	write(t, filepath.Join(open, config.SystemDeliveries), 0o644, config.DeliveryHead{Open: true})
	torn := t.TempDir()
	os.WriteFile(filepath.Join(torn, config.SystemDeliveries), []byte(`{"version":1}`), 0o644)
	newer := t.TempDir()
	os.WriteFile(filepath.Join(newer, config.VirtualDeliveries), []byte(`{"version":2}`+"\n"), 0o644)
	row := t.TempDir()
	os.WriteFile(filepath.Join(row, config.VirtualDeliveries), []byte(`{"version":1}`+"\n"+`{"name":"alice","uid":`+"\n"), 0o644)
	for what, tables := range map[string]*Tables{"no table": missing, "directories": NewTables(open), "a torn one": NewTables(torn), "a newer one": NewTables(newer), "a torn row": NewTables(row)} {
		_, err := tables.Find("alice")
		if f := AsFault(err); err == nil || strings.Contains(err.Error(), "%!") || f.Code >= 500 || f.Exit() != ExitTempFail {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestFaults(t *testing.T) {
	for want, err := range map[int]error{
		ExitNoUser: ErrUnknown, ExitTempFail: ErrFull, ExitUnavailable: ErrTooLong,
	} {
		f := AsFault(fmt.Errorf("deliver: %w", err))
		if f.Exit() != want {
			t.Errorf("%v: %d", f, f.Exit())
		}
		if again := ParseFault(f.Error()); *again != *f {
			t.Errorf("%v becomes %v", f, again)
		}
	}
	if f := ParseFault("nonsense"); f.Code != 451 {
		t.Error(f)
	}
}

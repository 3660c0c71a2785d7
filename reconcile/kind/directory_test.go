package kind

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mailstead/reconcile"
)

// The directory with the mail of virtual users is not even planned to go, full
// or empty; any other goes when it is empty.
func TestMailDirectoryStays(t *testing.T) {
	b := newBench(t)
	mail, other := b.path("mail"), b.path("other")
	want := []reconcile.Resource{MailDirectory(mail, 0o750, "", "", ""), Directory(other, 0o700, "", "", "")}
	b.wantPlan([]string{"create directory/" + other + ": missing", "create mail-directory/" + mail + ": missing"}, want...)
	b.apply(want...)
	b.wantMode(mail, "0750")
	b.must(os.Mkdir(filepath.Join(mail, "vera"), 0o700))

	p := b.compare()
	if len(p.Changes) != 1 || p.Changes[0].Ref != DirectoryRef(other) {
		t.Errorf("planned: %+v", p.Changes)
	}
	if note := "no longer described and left as it is: mail-directory " + mail; !slices.Contains(p.Notes, note) {
		t.Errorf("no note %q in %q", note, p.Notes)
	}
	b.apply()
	b.wantMode(filepath.Join(mail, "vera"), "0700")
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", other, err)
	}
}

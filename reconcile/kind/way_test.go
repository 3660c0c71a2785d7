package kind

import (
	"os"
	"strings"
	"testing"

	"mailstead/reconcile"
)

// The way to mail ends where its owner may not go on, and nothing of an answer that
// is no way is taken.
func TestWay(t *testing.T) {
	b, m := victim(t)
	r := Maildir(m, "")
	b.must(b.host.applyMail(t.Context(), reconcile.Change{Want: &r}))
	end := func() WayStep {
		t.Helper()
		way, err := b.host.Way(t.Context(), r)
		b.must(err)
		if way[0].Path != "/" {
			t.Errorf("it begins at %+v", way[0])
		}
		return way[len(way)-1]
	}
	if last := end(); last.Path != m.Path || !last.Enter || last.Error != "" || last.UID != m.UID {
		t.Errorf("%+v", last)
	}
	b.must(os.Rename(m.Home, m.Home+".d"))
	b.must(os.Symlink(m.Home+".d", m.Home))
	b.must(os.RemoveAll(m.Path))
	if last := end(); last.Path != m.Path || last.Error == "" {
		t.Errorf("without a Maildir: %+v", last)
	}
	b.must(os.Chown(m.Home+".d", 0, 0))
	b.must(os.Chmod(m.Home+".d", 0o700))
	if last := end(); last.Path != m.Home || last.Link != m.Home+".d" || !last.Dir || last.Enter || last.Mode != 0o700 || last.UID != 0 {
		t.Errorf("a home of root's behind a link: %+v", last)
	}
	for _, steps := range []string{"", "{}" + strings.Repeat(",{}", maxWay)} {
		b.host.Close()
		b.host.Helper = []string{"/bin/sh", "-c", "read x; echo '{\"way\":[" + steps + "]}'; read y"}
		if way, err := b.host.Way(t.Context(), r); err == nil {
			t.Errorf("%d steps were taken", len(way))
		}
	}
}

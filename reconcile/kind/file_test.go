package kind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/reconcile"
)

func TestDirectory(t *testing.T) {
	b := newBench(t)
	dir := b.path("a", "b")
	want := Directory(dir, 0o750, "", "", "host.cue:1:1")
	b.wantPlan([]string{"create directory/" + dir + ": missing"}, want)
	b.apply(want)
	b.wantMode(b.path("a"), "0755")
	b.wantMode(dir, "0750")

	b.must(os.Chmod(dir, 0o777|os.ModeSetgid))
	b.wantPlan([]string{"update directory/" + dir + ": mode 2777, want 0750"}, want)
	b.apply(want)
	b.wantMode(dir, "0750")

	// It goes only if it is empty.
	b.must(os.WriteFile(dir+"/mail", nil, 0o600))
	b.apply()
	b.wantMode(dir, "0750")
	if got := b.plan(); got != nil {
		t.Errorf("a directory that stays is not let go of: %q", got)
	}
	b.apply(want)
	b.must(os.Chmod(dir, 0o700))
	b.apply(want) // ours again
	b.must(os.Remove(dir + "/mail"))
	b.apply()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	b.wantMode(b.path("a"), "0755")
}

func TestDirectoryInTheWay(t *testing.T) {
	b := newBench(t)
	b.must(os.WriteFile(b.path("file"), nil, 0o600))
	b.must(os.Symlink("elsewhere", b.path("link")))
	b.wantPlan([]string{
		"unreadable directory/" + b.path("file") + ": " + b.path("file") + " is a file, want a directory: move it away",
		"unreadable directory/" + b.path("link") + ": " + b.path("link") + " is a symbolic link, want a directory: move it away",
		`unreadable directory//: path "/": want an absolute path without "." or ".."`,
		`unreadable directory//a/../b: path "/a/../b": want an absolute path without "." or ".."`,
		`unreadable directory//a` + "\n" + `b: path "/a\nb": it has a control character`,
	}, Directory(b.path("file"), 0o755, "", "", ""), Directory(b.path("link"), 0o755, "", "", ""),
		Directory("/", 0o755, "", "", ""), Directory("/a/../b", 0o755, "", "", ""), Directory("/a\nb", 0o755, "", "", ""))
}

func TestFile(t *testing.T) {
	b := newBench(t)
	path := b.path("x.conf")
	file := func(content string) reconcile.Resource {
		return File("daemon-config", FileSpec{Path: path, Mode: 0o640, Content: []byte(content), Impact: reconcile.Reload}, "host.cue:2:1")
	}
	ref := "daemon-config/" + path
	b.wantPlan([]string{"create " + ref + ": missing"}, file("one"))
	b.apply(file("one"))
	b.wantMode(path, "0640")
	if got := b.content(path); got != "one" {
		t.Errorf("content %q", got)
	}
	b.wantPlan([]string{"update " + ref + ": content differs"}, file("two"))
	b.apply(file("two"))

	// A wrong mode is mended without another file: its time still says when it
	// was written.
	before, err := os.Stat(path)
	b.must(err)
	b.must(os.Chmod(path, 0o666))
	b.wantPlan([]string{"update " + ref + ": mode 0666, want 0640"}, file("two"))
	b.apply(file("two"))
	b.wantMode(path, "0640")
	after, err := os.Stat(path)
	b.must(err)
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("the file was written again")
	}

	// A file with a second name is not changed, but replaced.
	b.must(os.Link(path, b.path("other")))
	b.must(os.Chmod(path, 0o666))
	b.apply(file("two"))
	b.wantMode(path, "0640")
	b.wantMode(b.path("other"), "0666")

	b.apply()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestFileThatWasThere(t *testing.T) {
	b := newBench(t)
	path := b.path("x.conf")
	b.must(os.WriteFile(path, []byte("same"), 0o644))
	want := File("file", FileSpec{Path: path, Mode: 0o644, Content: []byte("same")}, "")
	b.wantPlan(nil, want)
	b.apply(want)
	b.apply()
	if got := b.content(path); got != "same" {
		t.Errorf("somebody else's file has %q", got)
	}
}

func TestFileRefused(t *testing.T) {
	b := newBench(t)
	b.must(os.Symlink("/dev/null", b.path("masked.service")))
	b.must(os.Mkdir(b.path("open"), 0o777))
	b.must(os.Chmod(b.path("open"), 0o777))
	got := b.plan(
		File("file", FileSpec{Path: b.path("masked.service"), Mode: 0o644}, ""),
		File("file", FileSpec{Path: b.path("open", "f"), Mode: 0o644}, ""))
	for i, want := range []string{"is a symbolic link, want a file", "has mode 0777"} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if err := b.tryApply(File("file", FileSpec{Path: b.path("open", "f"), Mode: 0o644}, "")); err == nil {
		t.Error("a file was written where everybody can write")
	}
}

func TestSecretFileIsNotShown(t *testing.T) {
	b := newBench(t)
	file := func(hash string) reconcile.Resource {
		return File("password-file", FileSpec{Path: b.path("users"), Mode: 0o600, Content: []byte(hash), Secret: true}, "")
	}
	b.apply(file("$6$one"))
	p := b.compare(file("$6$two"))
	for _, r := range []*reconcile.Resource{p.Changes[0].Have, p.Changes[0].Want} {
		for _, a := range r.Attrs {
			if strings.Contains(a.Value, "$6$") && !a.Secret {
				t.Errorf("attribute %s shows the hash", a.Name)
			}
		}
	}
	if data := b.content(b.path("state", reconcile.InventoryFile)); strings.Contains(data, "$6$") {
		t.Errorf("the inventory holds the hash: %s", data)
	}
}

// TestLostInventory: what bears our name is removed also after somebody has
// removed the inventory; a file that could be anybody's is left.
func TestLostInventory(t *testing.T) {
	b := newBench(t)
	var files []reconcile.Resource
	for _, kind := range []string{"password-file", "daemon-config", "pam-service", "deploy-hook", "file"} {
		files = append(files, File(kind, FileSpec{Path: b.path(kind), Mode: 0o600, Content: []byte("x"), Impact: reconcile.Live}, ""))
	}
	b.apply(files...)
	b.must(os.Remove(filepath.Join(b.state, reconcile.InventoryFile)))
	b.apply(files...)
	b.apply()
	left, err := filepath.Glob(b.path("*-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
	b.wantMode(b.path("file"), "0600")
	for _, k := range b.host.Table() {
		if (k.Name == "unit" || k.Name == "certificate") && !k.Adopt {
			t.Errorf("a lost inventory makes every %s foreign", k.Name)
		}
	}
}

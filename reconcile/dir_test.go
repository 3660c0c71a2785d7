package reconcile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestOpenDir(t *testing.T) {
	top := t.TempDir()
	mkdir := func(name string, mode fs.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(top, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	mkdir("safe/in", 0o755)
	mkdir("open/in", 0o755)
	mkdir("open", 0o777)
	mkdir("sticky/in", 0o755)
	mkdir("sticky", 0o777|fs.ModeSticky)
	mkdir("group/in", 0o755)
	mkdir("group", 0o775)
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(top, "group"), 0, 4321); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"link": "safe", "up": "safe/in/../in", "abs": filepath.Join(top, "safe"), "loop": "loop", "astray": "open/in",
	} {
		if err := os.Symlink(target, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"safe/in":   "",
		"link/in":   "",
		"up":        "",
		"abs/in":    "",
		"sticky/in": "",
		"sticky":    "has mode 1777",
		"open":      "has mode 0777",
		"open/in":   "/open has mode 0777",
		"astray":    "/open has mode 0777",
		"loop":      "too many levels of symbolic links",
		"file":      "not a directory",
		"none":      "no such file or directory",
	} {
		d, err := OpenDir(filepath.Join(top, path), false)
		if err == nil {
			d.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	_, err := OpenDir(filepath.Join(top, "group/in"), false)
	if os.Geteuid() == 0 && err == nil {
		t.Error("root trusts a directory that a group of people writes")
	} else if os.Geteuid() != 0 && err != nil {
		t.Errorf("a user's own group: %v", err)
	}
	if _, err := OpenDir("relative", false); err == nil {
		t.Error("a relative path was opened")
	}
}

func TestOpenDirOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a directory away")
	}
	top := t.TempDir()
	for _, dir := range []string{"his/in", "ours/in"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("ours", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"his", "link"} {
		if err := os.Lchown(filepath.Join(top, name), 4321, 4321); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"his", "his/in", "link/in"} {
		_, err := OpenDir(filepath.Join(top, path), true)
		var unsafe *UnsafeError
		if !errors.As(err, &unsafe) {
			t.Errorf("%s: got %v, want an UnsafeError", path, err)
		}
	}
}

// TestTakeOver: who looks as an ordinary user is not told to take over what is below
// root's directories.
func TestTakeOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a directory away")
	}
	const me, other = 4321, 4322
	top := t.TempDir()
	for _, dir := range []string{"other", "me/other"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("me", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	for name, uid := range map[string]int{"other": other, "link": other, "me": me, "me/other": other} {
		if err := os.Lchown(filepath.Join(top, name), uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Setreuid(-1, 0) })
	if err := syscall.Setreuid(-1, me); err != nil { // of all threads
		t.Fatal(err)
	}
	for name, owner := range map[string]int{"other": 0, "link": 0, "me/other": me} {
		_, err := OpenDir(filepath.Join(top, name), false)
		if errors.Is(err, fs.ErrPermission) {
			t.Skip("the directories of tests are closed to others here")
		}
		var unsafe *UnsafeError
		if want := fmt.Sprintf("chown -h %d %s", owner, filepath.Join(top, name)); !errors.As(err, &unsafe) || unsafe.Remedy != want {
			t.Errorf("%s: got %+v, want %s", name, err, want)
		}
	}
}

// An ACL shows as the group's right in the mode, whoever it names.
func TestOpenDirWithACL(t *testing.T) {
	top := t.TempDir()
	if err := os.Mkdir(filepath.Join(top, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	const user, group, mask = 0x02, 0x08, 0x10 // as in linux/posix_acl.h
	for _, tc := range []struct {
		tag, perm uint16
		id        uint32
		mask      uint16
		want      string
	}{
		{user, 7, 4242, 7, "has an ACL by which uid 4242 can write"},
		{group, 6, 4243, 7, "has an ACL by which gid 4243 can write"},
		{user, 5, 4242, 7, ""},
		{user, 7, 4242, 5, ""},
		{user, 7, 0, 7, ""},
		{group, 7, 8, 7, ""}, // mail
	} {
		acl := binary.LittleEndian.AppendUint32(nil, 2)
		for _, e := range []struct {
			tag, perm uint16
			id        uint32
		}{{0x01, 7, math.MaxUint32}, {tc.tag, tc.perm, tc.id}, {0x04, 5, math.MaxUint32}, {mask, tc.mask, math.MaxUint32}, {0x20, 5, math.MaxUint32}} {
			acl = binary.LittleEndian.AppendUint16(acl, e.tag)
			acl = binary.LittleEndian.AppendUint16(acl, e.perm)
			acl = binary.LittleEndian.AppendUint32(acl, e.id)
		}
		if tc.tag == group { // after the owning group's
			copy(acl[4+8:], append(bytes.Clone(acl[4+16:4+24]), acl[4+8:4+16]...))
		}
		if err := unix.Setxattr(top, "system.posix_acl_access", acl, 0); err != nil {
			t.Skipf("no ACL here: %v", err)
		}
		for path, name := range map[string]string{"end": top, "on the way": filepath.Join(top, "in")} {
			d, err := OpenDir(name, false)
			if err == nil {
				d.Close()
			}
			var unsafe *UnsafeError
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%+v, %s: %v", tc, path, err)
			case tc.want != "" && (!errors.As(err, &unsafe) || unsafe.Reason != tc.want || unsafe.Remedy != "setfacl -b "+top):
				t.Errorf("%+v, %s: got %v", tc, path, err)
			}
		}
	}
}

func TestOpenDirCreates(t *testing.T) {
	top := t.TempDir()
	defer unix.Umask(unix.Umask(0o077))
	d, err := OpenDir(filepath.Join(top, "a/b/c"), true)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	for _, dir := range []string{"a", "a/b", "a/b/c"} {
		if st, err := os.Stat(filepath.Join(top, dir)); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v %v", dir, st.Mode(), err)
		}
	}
}

func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// A directory of ours may be made and found where others can make theirs.
func TestOpenParentShared(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	open := func(mode fs.FileMode, name string) (*Dir, error) {
		if err := os.Chmod(shared, mode); err != nil {
			t.Fatal(err)
		}
		d, err := OpenParent(filepath.Join(shared, name), false)
		if err == nil {
			t.Cleanup(d.Close)
		}
		return d, err
	}
	if err := os.Mkdir(filepath.Join(shared, "ours"), 0o700); err != nil {
		t.Fatal(err)
	}
	var theirs unix.Stat_t
	theirs.Uid = uint32(os.Geteuid()) + 1
	for _, name := range []string{"ours", "none"} {
		if _, err := open(0o777, name); err == nil {
			t.Errorf("%s: taken where anyone can rename it", name)
		}
		d, err := open(0o777|fs.ModeSticky, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Owned(name, &theirs) == nil {
			t.Errorf("%s: taken although it is somebody else's", name)
		}
	}
	d, err := open(0o755, "ours")
	if err != nil || d.Owned("ours", &theirs) != nil {
		t.Errorf("where only we can write, an owner was refused: %v", err)
	}
	if err := os.Chmod(shared, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	made, err := OpenDir(filepath.Join(shared, "below", "that"), true)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(shared, "ours"), 12345, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := open(0o777|fs.ModeSticky, "ours"); err == nil {
			t.Error("taken although it is somebody else's")
		}
	}
}

func TestReplace(t *testing.T) {
	top := t.TempDir()
	d := openDir(t, top)
	victim := filepath.Join(top, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Neither a link in the place nor one where the new file is to be written
	// leads anywhere.
	for _, name := range []string{"f", "f" + tempSuffix} {
		if err := os.Symlink("victim", filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	defer unix.Umask(unix.Umask(0o777))
	if err := d.Replace("f", FileData{Mode: 0o640, UID: -1, GID: -1, Data: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(filepath.Join(top, "f"))
	if err != nil || st.Mode() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	data, err := d.ReadFile("f", 3)
	if err != nil || string(data) != "new" {
		t.Errorf("%q %v", data, err)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "mine" {
		t.Errorf("the link was followed: %q %v", data, err)
	}
	if _, err := d.ReadFile("f", 2); err == nil {
		t.Error("a file over the limit was read")
	}
	if err := os.Symlink("f", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadFile("link", 10); err == nil {
		t.Error("a link was read")
	}
	if err := unix.Mkfifo(filepath.Join(top, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(top, "fifo"), 0o600)
	if _, err := d.ReadFile("fifo", 10); err == nil {
		t.Error("a pipe was read")
	}
	names(t, top, "f", "fifo", "link", "victim")
}

func names(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in %s (-want +got):\n%s", dir, diff)
	}
}

// TestReplaceStoppedAnywhere ends the process, as far as a panic can, before
// each step: there is the old file or the new one, whole and with its mode, and
// the next Replace gets through.
func TestReplaceStoppedAnywhere(t *testing.T) {
	top := t.TempDir()
	d := openDir(t, top)
	old := FileData{Mode: 0o644, UID: -1, GID: -1, Data: []byte("old")}
	secret := FileData{Mode: 0o600, UID: -1, GID: -1, Data: []byte("secret key")}
	var steps []string
	for stop := 0; ; stop++ {
		if err := d.Replace("f", old); err != nil {
			t.Fatal(err)
		}
		steps = nil
		whole := func() bool {
			defer func() { recover() }()
			err := d.replace("f", secret, func(step string) error {
				if len(steps) == stop {
					panic("stopped")
				}
				steps = append(steps, step)
				exposed(t, top, step)
				return nil
			})
			return err == nil
		}()
		data, err := d.ReadFile("f", 100)
		st, _ := os.Stat(filepath.Join(top, "f"))
		got := fmt.Sprintf("%s %v %v", data, st.Mode(), err)
		if got != "old -rw-r--r-- <nil>" && got != "secret key -rw------- <nil>" {
			t.Errorf("stopped before step %d: %s", stop, got)
		}
		if whole {
			break
		}
	}
	if diff := cmp.Diff([]string{"create", "write", "chown", "chmod", "sync", "rename", "sync directory"}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	names(t, top, "f")
}

// exposed fails if the file that is being written could be opened by others.
func exposed(t *testing.T, dir, step string) {
	t.Helper()
	st, err := os.Lstat(filepath.Join(dir, "f"+tempSuffix))
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		t.Errorf("before %q the file has mode %v", step, st.Mode())
	}
}

func TestReplaceFailureLeavesNothing(t *testing.T) {
	top := t.TempDir()
	d := openDir(t, top)
	for _, step := range []string{"write", "sync", "rename"} {
		err := d.replace("f", FileData{Mode: 0o600, UID: -1, GID: -1}, func(s string) error {
			if s == step {
				return errInjected
			}
			return nil
		})
		if !errors.Is(err, errInjected) {
			t.Errorf("%s: %v", step, err)
		}
		names(t, top)
	}
}

// TestOpenDirTogether has many make the same directories at once.
func TestOpenDirTogether(t *testing.T) {
	top := t.TempDir()
	for round := range 100 {
		path := filepath.Join(top, fmt.Sprint(round), "a", "b", "c")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				d, err := OpenDir(path, true)
				if err != nil {
					t.Error(err)
					return
				}
				d.Close()
			})
		}
		all.Wait()
	}
}

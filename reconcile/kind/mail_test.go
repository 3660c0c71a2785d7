package kind

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
)

// alice is a user whose mail the test may write.
func alice(b *bench) MaildirSpec {
	home := b.path("home", "alice")
	b.must(os.MkdirAll(home, 0o755))
	return MaildirSpec{User: "alice", Home: home, Path: filepath.Join(home, "Maildir"), UID: os.Getuid(), GID: os.Getgid()}
}

// virtual is the mail of a user whose home is made with it.
func virtual(m MaildirSpec) reconcile.Resource {
	r := Maildir(m, "")
	r.Needs = []reconcile.Ref{MailDirectoryRef(filepath.Dir(m.Home))}
	return r
}

// tree lists everything below a directory with its mode.
func (b *bench) tree(dir string) []string {
	b.Helper()
	var out []string
	b.must(filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		out = append(out, rel+" "+b.mode(path))
		return nil
	}))
	return out
}

func TestMaildirIsMade(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	b.wantPlan([]string{"create maildir/alice: missing", "create folder/alice/Sent: missing", "create folder/alice/Wörk.2026: missing"},
		Maildir(m, ""), Folder(m, FolderSpec{Name: "Sent", Use: "sent", Subscribed: true}, ""), Folder(m, FolderSpec{Name: "Wörk.2026"}, ""))
	b.apply(Maildir(m, ""), Folder(m, FolderSpec{Name: "Sent", Use: "sent", Subscribed: true}, ""), Folder(m, FolderSpec{Name: "Wörk.2026"}, ""))
	want := []string{
		". 0700",
		".Sent 0700", ".Sent/cur 0700", ".Sent/maildirfolder 0600", ".Sent/new 0700", ".Sent/tmp 0700",
		".Wörk.2026 0700", ".Wörk.2026/cur 0700", ".Wörk.2026/maildirfolder 0600", ".Wörk.2026/new 0700", ".Wörk.2026/tmp 0700",
		"courierimapsubscribed 0600", "cur 0700",
		"mailstead 0700", "mailstead/special-use 0600",
		"new 0700", "tmp 0700",
	}
	if diff := cmp.Diff(want, b.tree(m.Path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := b.content(m.Path + "/courierimapsubscribed"); got != "INBOX.Sent\n" {
		t.Errorf("subscriptions: %q", got)
	}
	if got := b.content(m.Path + "/mailstead/special-use"); got != "sent Sent\n" {
		t.Errorf("special use: %q", got)
	}
}

// TestMaildirRepair is what a fix-maildir script was for.
func TestMaildirRepair(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	b.apply(Maildir(m, ""), Folder(m, FolderSpec{Name: "Sent"}, ""))
	mail := filepath.Join(m.Path, ".Sent", "cur", "1.a.b:2,S")
	b.must(os.WriteFile(mail, []byte("mail"), 0o644))
	b.must(os.RemoveAll(m.Path + "/tmp"))
	b.must(os.Remove(m.Path + "/.Sent/new"))
	b.must(os.Remove(m.Path + "/.Sent/maildirfolder"))
	b.must(os.Chmod(m.Path+"/.Sent/cur", 0o755))
	b.must(os.Chmod(m.Path+"/new", 0o770))
	// Neither of these is a mailbox.
	b.must(os.Mkdir(m.Path+"/.git", 0o755))
	b.must(os.WriteFile(m.Path+"/.afile", nil, 0o644))
	b.must(os.Symlink("..", m.Path+"/.link"))
	b.wantPlan([]string{
		"update maildir/alice: mode 0770 (new), 0755 (.Sent/cur), want 0700; tree no tmp, no .Sent/new, no .Sent/maildirfolder, want complete",
	}, Maildir(m, ""))
	b.apply(Maildir(m, ""))
	for _, dir := range []string{"tmp", "new", ".Sent/new", ".Sent/cur"} {
		b.wantMode(filepath.Join(m.Path, dir), "0700")
	}
	b.wantMode(m.Path+"/.git", "0755")
	b.wantMode(mail, "0644")
}

// TestMaildirUnreadable: where the owner may not even look, the mode is mended
// first.
func TestMaildirUnreadable(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	b.apply(Maildir(m, ""))
	b.must(os.Remove(m.Path + "/tmp"))
	for _, dir := range []string{"/.Sent/cur", "/.git"} {
		b.must(os.MkdirAll(m.Path+dir, 0o700))
	}
	b.must(os.Chmod(m.Path+"/.Sent", 0o000))
	b.must(os.Chmod(m.Path+"/.git", 0o000))
	b.must(os.Chmod(m.Path, 0o000))
	t.Cleanup(func() { os.Chmod(m.Path, 0o700) })
	got := b.plan(Maildir(m, ""))
	if len(got) != 1 || !strings.Contains(got[0], "mode 0000 (.), want 0700") {
		t.Errorf("plan: %q", got)
	}
	b.apply(Maildir(m, ""))
	b.wantMode(m.Path+"/tmp", "0700")
	b.wantMode(m.Path+"/.Sent/new", "0700")
	if _, err := os.Stat(m.Path + "/.git/cur"); err == nil {
		t.Error("a directory of somebody else was made a mailbox")
	}
}

func TestMaildirRefused(t *testing.T) {
	b := newBench(t)
	b.must(os.Mkdir(b.path("elsewhere"), 0o700))
	for name, tc := range map[string]struct {
		prepare func(m *MaildirSpec)
		want    string
	}{
		"link": {func(m *MaildirSpec) { b.must(os.Symlink(b.path("elsewhere"), m.Path)) },
			"is a symbolic link: name the place that it points to"},
		"link below": {func(m *MaildirSpec) {
			b.must(os.Symlink(b.path("elsewhere"), m.Home+"/mail"))
			m.Path = m.Home + "/mail/Maildir"
		}, "/mail is a symbolic link"},
		"file":     {func(m *MaildirSpec) { b.must(os.WriteFile(m.Path, nil, 0o600)) }, "is not a directory: move it away"},
		"out":      {func(m *MaildirSpec) { m.Path = m.Home + "/../bob/Maildir" }, "want an absolute path without"},
		"relative": {func(m *MaildirSpec) { m.Path = "Maildir" }, "want an absolute path without"},
		"foreign": {func(m *MaildirSpec) {
			b.must(os.MkdirAll(m.Path+"/cur", 0o700))
			b.must(os.Symlink("cur", m.Path+"/new"))
		}, "symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			m := alice(b)
			m.User = name
			m.Home = b.path("home", name)
			m.Path = m.Home + "/Maildir"
			b.must(os.MkdirAll(m.Home, 0o755))
			tc.prepare(&m)
			got := b.plan(Maildir(m, ""))
			if len(got) != 1 || !strings.HasPrefix(got[0], "unreadable ") || !strings.Contains(got[0], tc.want) {
				t.Errorf("plan: %q, want %q", got, tc.want)
			}
		})
	}
	if entries, err := os.ReadDir(b.path("elsewhere")); err != nil || len(entries) > 0 {
		t.Errorf("a link was followed: %v %v", entries, err)
	}
}

func TestMaildirOfNobody(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	m.UID++
	if os.Geteuid() == 0 {
		m.UID = 0
		m.GID = 4321
		b.apply(Maildir(m, "")) // root's own: the group is mended
		b.must(os.Chown(m.Path+"/cur", 4321, 4321))
	} else {
		b.must(os.MkdirAll(m.Path, 0o700))
	}
	got := b.plan(Maildir(m, ""))
	if len(got) != 1 || !strings.HasPrefix(got[0], "unreadable ") || !strings.Contains(got[0], "belongs to uid") ||
		!strings.HasSuffix(got[0], fmt.Sprintf(`: run "chown -hR %d:%d %s" as root`, m.UID, m.GID, m.Path)) {
		t.Errorf("mail of another uid: %q", got)
	}
}

// TestVirtualHome: the directory of a virtual user is made below the root of
// virtual mail, a missing home of an account is not.
func TestVirtualHome(t *testing.T) {
	b := newBench(t)
	root := b.path("vmail")
	m := MaildirSpec{User: "vera@example.org", Home: root + "/vera@example.org", Path: root + "/vera@example.org/Maildir", UID: os.Getuid(), GID: os.Getgid()}
	b.apply(MailDirectory(root, 0o750, "", "", ""), virtual(m))
	b.wantMode(m.Home, "0700")
	b.wantMode(m.Path+"/cur", "0700")

	m.User, m.Home, m.Path = "bob", b.path("nohome", "bob"), b.path("nohome", "bob", "Maildir")
	b.wantPlan([]string{fmt.Sprintf("unreadable maildir/bob: no home directory %s: run \"install -d -m 0700 -o %d -g %d %[1]s\" as root", m.Home, m.UID, m.GID)},
		Maildir(m, ""))
	if err := b.tryApply(virtual(m)); err == nil || !strings.Contains(err.Error(), "no home directory") {
		t.Errorf("a home without a parent: %v", err)
	}
}

func TestMaildirOutsideOfHome(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	b.must(os.MkdirAll(b.path("spool", "alice"), 0o755))
	m.Path = b.path("spool", "alice", "Maildir")
	b.apply(Maildir(m, ""))
	b.wantMode(m.Path+"/cur", "0700")
	m.Path = m.Home + "/deep/er/Maildir"
	b.apply(Maildir(m, ""))
	b.wantMode(m.Home+"/deep", "0700")
}

func TestFolderIsEnsuredOnce(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	sent := func(use string) []reconcile.Resource {
		return []reconcile.Resource{Maildir(m, ""), Folder(m, FolderSpec{Name: "Sent", Use: use, Subscribed: true}, "")}
	}
	b.apply(sent("sent")...)
	b.must(os.RemoveAll(m.Path + "/.Sent"))
	b.must(os.WriteFile(m.Path+"/courierimapsubscribed", nil, 0o600))
	b.wantPlan(nil, sent("sent")...) // a client did that
	b.wantPlan([]string{"create folder/alice/Sent: missing"}, sent("trash")...)
	b.apply(sent("trash")...)
	if got := b.content(m.Path + "/mailstead/special-use"); got != "trash Sent\n" {
		t.Errorf("special use: %q", got)
	}
	b.apply(sent("")...)
	if got := b.content(m.Path + "/mailstead/special-use"); got != "" {
		t.Errorf("special use: %q", got)
	}
	b.must(os.RemoveAll(m.Path))
	b.wantPlan([]string{"create maildir/alice: missing", "create folder/alice/Sent: missing"}, sent("")...)
	b.apply(sent("")...)
	b.apply() // nothing is described any more
	b.wantMode(m.Path+"/.Sent/cur", "0700")
}

// TestSpecialUseMoves: one mailbox has it, also where another had it before or
// two take each other's.
func TestSpecialUseMoves(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	folders := func(pairs ...string) []reconcile.Resource {
		want := []reconcile.Resource{Maildir(m, "")}
		for i := 0; i < len(pairs); i += 2 {
			want = append(want, Folder(m, FolderSpec{Name: pairs[i], Use: pairs[i+1]}, ""))
		}
		return want
	}
	for _, step := range []struct {
		folders []string
		file    string
	}{
		{[]string{"Junk", "junk", "Sent", "sent"}, "junk Junk\nsent Sent\n"},
		{[]string{"Spam", "junk", "Sent", "sent"}, "sent Sent\njunk Spam\n"},
		{[]string{"Spam", "sent", "Sent", "junk"}, "sent Spam\njunk Sent\n"},
		{[]string{"Junk", "junk", "Sent", "trash", "Spam", "sent"}, "sent Spam\njunk Junk\ntrash Sent\n"},
	} {
		b.apply(folders(step.folders...)...)
		if got := b.content(m.Path + "/mailstead/special-use"); got != step.file {
			t.Errorf("%q: special use %q, want %q", step.folders, got, step.file)
		}
	}
}

// TestFolderOfAnOldTree: a tree from before Courier 5 keeps its spelling.
func TestFolderOfAnOldTree(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	b.apply(Maildir(m, ""))
	for _, dir := range []string{"cur", "new", "tmp"} {
		b.must(os.MkdirAll(filepath.Join(m.Path, ".Entw&APw-rfe", dir), 0o700))
	}
	b.must(os.WriteFile(m.Path+"/courierimapsubscribed", []byte("INBOX\nINBOX.Entw&APw-rfe\n#shared.bob.Team\n"), 0o644))
	folder := func(name string) reconcile.Resource {
		return Folder(m, FolderSpec{Name: name, Subscribed: true}, "")
	}
	b.wantPlan([]string{
		"update maildir/alice: tree no .Entw&APw-rfe/maildirfolder, want complete",
		"create folder/alice/Müll: missing",
	}, Maildir(m, ""), folder("Entwürfe"), folder("Müll"))
	b.apply(Maildir(m, ""), folder("Entwürfe"), folder("Müll"))
	b.wantMode(m.Path+"/.M&APw-ll/cur", "0700")
	if got, want := b.content(m.Path+"/courierimapsubscribed"), "INBOX\nINBOX.Entw&APw-rfe\n#shared.bob.Team\nINBOX.M&APw-ll\n"; got != want {
		t.Errorf("subscriptions: %q, want %q", got, want)
	}
	b.wantMode(m.Path+"/courierimapsubscribed", "0644")
}

func TestFolderInbox(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	inbox := Folder(m, FolderSpec{Name: "Inbox", Subscribed: true}, "")
	b.apply(Maildir(m, ""), inbox)
	if got := b.content(m.Path + "/courierimapsubscribed"); got != "INBOX\n" {
		t.Errorf("subscriptions: %q", got)
	}
	if _, err := os.Stat(filepath.Join(m.Path, maildir.FolderMark)); err == nil {
		t.Error("INBOX was marked as a folder")
	}
}

func TestFolderRefused(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	b.apply(Maildir(m, ""))
	for _, name := range []string{"../x", "a/b", ".hidden", "a..b", "a\nb"} {
		got := b.plan(Maildir(m, ""), Folder(m, FolderSpec{Name: name}, ""))
		if len(got) != 1 || !strings.HasPrefix(got[0], "unreadable ") {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// TestMailIsNeverRemoved: there is no way to ask for it.
func TestMailIsNeverRemoved(t *testing.T) {
	b := newBench(t)
	m := alice(b)
	maildir := Maildir(m, "")
	for _, kind := range []string{"maildir", "folder"} {
		maildir.Ref.Kind = kind
		err := b.host.applyMail(b.Context(), reconcile.Change{Ref: maildir.Ref, Op: reconcile.Delete, Have: &maildir})
		if err == nil || !strings.Contains(err.Error(), "mail is never removed") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	i := slices.IndexFunc(b.host.Table(), func(k reconcile.Kind) bool { return k.Name == "maildir" })
	if k := b.host.Table()[i]; !k.Keep {
		t.Error("the table lets Maildirs go")
	}
}

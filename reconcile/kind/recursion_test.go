package kind

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailstead/reconcile"
)

// treeEnv names the directory in which a process of TestRootStaysOutside applies.
const treeEnv = "MAILSTEAD_TEST_TREE"

// applyTree is the process that is watched: it plans and applies one Maildir.
func applyTree(dir string) {
	a := attackedBelow(dir)
	m := MaildirSpec{User: "mallory", Home: a.home, Path: a.maildir(), UID: someone.uid, GID: someone.gid}
	want := []reconcile.Resource{Maildir(m, ""), Folder(m, FolderSpec{Name: "Sent", Use: "sent", Subscribed: true}, "")}
	var h Host
	defer h.Close()
	p, err := reconcile.Compare(context.Background(), reconcile.Inputs{Want: want, Table: h.Table(), State: dir + "/state"})
	if err == nil {
		fmt.Println(len(p.Changes), "changes")
		_, err = reconcile.Apply(context.Background(), p, reconcile.Options{Table: h.Table(), State: dir + "/state"})
	}
	if err != nil {
		fmt.Println(err)
	}
}

var (
	becameHelper = regexp.MustCompile(`^(\d+) +execve\(.*"as-user"\]`)
	threadOf     = regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = (\d+)`)
)

// TestRootStaysOutside looks at every system call on a path or a descriptor
// while a tree of thousands of directories with wrong modes is mended and its
// owner is at work in it: root makes none below the home directory.
func TestRootStaysOutside(t *testing.T) {
	b, _ := victim(t)
	a := attackedBelow(b.dir)
	b.fillBait(a)
	defer b.fillHome(a)()
	folders := 200
	if os.Getenv("MAILSTEAD_ATTACKS") != "" {
		folders = 2500
	}
	for i := range folders {
		for _, sub := range []string{"", "cur", "new", "tmp"} {
			dir := filepath.Join(a.maildir(), fmt.Sprint(".F", i), sub)
			os.Mkdir(dir, 0o755) // the attacker may have a link in the way
			os.Lchown(dir, someone.uid, someone.gid)
		}
	}
	calls := 0 // by helpers, of which some come far, and some meet a link at once
	for round := 0; round < 300 && calls < 20*folders; round++ {
		calls += b.traceApply(a)
	}
	t.Logf("%d calls by helpers", calls)
	if calls < 20*folders {
		t.Errorf("helpers made only %d calls: the trace shows nothing", calls)
	}
}

// traceApply runs applyTree, and gives how many calls its helper made below the
// home directory. Any other process's is an error.
func (b *bench) traceApply(a attacked) (byHelper int) {
	b.Helper()
	trace, before := b.path("trace"), b.fingerprint(a.bait)
	c := exec.Command("strace", "-f", "-qq", "-y", "-s", "4096", "-o", trace, "-e",
		"trace=%file,%process,getdents64,fchmod,fchown,fchmodat,fchownat,mkdirat,fstat,newfstatat", os.Args[0])
	c.Env = append(os.Environ(), treeEnv+"="+b.dir)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "changes") {
		b.Fatalf("%v\n%s", err, out)
	}
	if now := b.fingerprint(a.bait); now != before {
		b.Errorf("outside it was\n%s, is\n%s", before, now)
	}
	calls := b.content(trace)
	helpers := map[string]bool{}
	for found := -1; found < len(helpers); { // a thread's first calls may come before the one that made it has returned
		found = len(helpers)
		for line := range strings.Lines(calls) {
			if m := becameHelper.FindStringSubmatch(line); m != nil {
				helpers[m[1]] = true
			}
			if m := threadOf.FindStringSubmatch(line); m != nil && helpers[m[1]] {
				helpers[m[2]] = true
			}
		}
	}
	for line := range strings.Lines(calls) {
		if pid, _, _ := strings.Cut(line, " "); !strings.Contains(line, a.home+"/") {
			continue
		} else if helpers[pid] {
			byHelper++
		} else {
			b.Errorf("root: %s", line)
		}
	}
	return byHelper
}

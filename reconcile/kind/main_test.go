package kind

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "as-user" {
		if err := HelperMain(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(applyEnv); dir != "" {
		applyAndExit(dir)
	}
	if dir := os.Getenv(attackEnv); dir != "" {
		attack(attackedBelow(dir))
	}
	if dir := os.Getenv(treeEnv); dir != "" {
		applyTree(dir)
		os.Exit(0)
	}
	if dir := os.Getenv(spyEnv); dir != "" {
		spy(dir)
	}
	if args := os.Getenv(writerEnv); args != "" {
		writeBundles(args)
	}
	os.Exit(m.Run())
}

// e2e skips a test that needs root unless MAILSTEAD_E2E=1 asks for it.
func e2e(t *testing.T) {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs root: set MAILSTEAD_E2E=1")
	}
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
}

// bench is a host to apply to, with a state directory of its own.
type bench struct {
	*testing.T
	host  Host
	state string
	dir   string
}

// newBench makes a directory that costs no disk where the host has such: there
// are many runs, each of which syncs.
func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mailstead-test")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{T: t, dir: dir}
	b.state = filepath.Join(b.dir, "state")
	t.Cleanup(b.host.Close)
	return b
}

func (b *bench) compare(want ...reconcile.Resource) *reconcile.Plan {
	b.Helper()
	p, err := reconcile.Compare(b.Context(), reconcile.Inputs{Want: want, Table: b.host.Table(), State: b.state})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// plan gives the changes in one line each.
func (b *bench) plan(want ...reconcile.Resource) []string {
	b.Helper()
	p := b.compare(want...)
	var out []string
	for _, c := range p.Changes {
		out = append(out, fmt.Sprintf("%s %s: %s", c.Op, c.Ref, c.Reason))
	}
	for _, u := range p.Unreadable {
		out = append(out, fmt.Sprintf("unreadable %s: %s", u.Ref, u.Reason))
	}
	for _, w := range p.Blocked {
		out = append(out, fmt.Sprintf("blocked %s: %s", w.Ref, w.Reason))
	}
	return out
}

// wantPlan compares the changes with those expected.
func (b *bench) wantPlan(want []string, resources ...reconcile.Resource) {
	b.Helper()
	if diff := cmp.Diff(want, b.plan(resources...)); diff != "" {
		b.Errorf("plan (-want +got):\n%s", diff)
	}
}

// apply makes all changes, and checks that nothing is left to do.
func (b *bench) apply(want ...reconcile.Resource) {
	b.Helper()
	if err := b.tryApply(want...); err != nil {
		b.Fatal(err)
	}
	if p := b.compare(want...); !p.Empty() || len(p.Unreadable) > 0 {
		b.Errorf("after apply the plan is not empty: %q", b.plan(want...))
	}
}

func (b *bench) tryApply(want ...reconcile.Resource) error {
	b.Helper()
	r, err := reconcile.Apply(b.Context(), b.compare(want...), reconcile.Options{Table: b.host.Table(), State: b.state})
	if err != nil {
		return err
	}
	return r.Err()
}

func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) mode(path string) string {
	b.Helper()
	st, err := os.Lstat(path)
	b.must(err)
	return modeString(st.Mode())
}

func (b *bench) wantMode(path, want string) {
	b.Helper()
	if got := b.mode(path); got != want {
		b.Errorf("%s has mode %s, want %s", path, got, want)
	}
}

func (b *bench) content(path string) string {
	b.Helper()
	data, err := os.ReadFile(path)
	b.must(err)
	return string(data)
}

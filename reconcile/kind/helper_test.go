package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// someone is a uid that no account of a test host has.
var someone = identity{uid: 43210, gid: 43211}

// victim is a home directory of someone, in a place that they can reach.
func victim(t *testing.T) (b *bench, m MaildirSpec) {
	e2e(t)
	b = newBench(t)
	b.must(os.Chmod(b.dir, 0o755))
	home := b.path("home", "mallory")
	b.must(os.MkdirAll(home, 0o755))
	b.must(os.Chown(home, someone.uid, someone.gid))
	return b, MaildirSpec{User: "mallory", Home: home, Path: home + "/Maildir", UID: someone.uid, GID: someone.gid}
}

// TestHelperRefusesRoot: the hidden command is of no use to root.
func TestHelperRefusesRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("is not root")
	}
	if err := HelperMain(strings.NewReader(""), &bytes.Buffer{}); err == nil {
		t.Error("the helper works as root")
	}
	if _, err := startHelper(nil, identity{0, 0}); err == nil {
		t.Error("a helper was started as root")
	}
}

func TestHelperAnswers(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is root")
	}
	b := newBench(t)
	m := alice(b)
	want := Maildir(m, "")
	var in, out bytes.Buffer
	enc := json.NewEncoder(&in)
	b.must(enc.Encode(mailRequest{Asks: []mailThing{newMailThing(&want)}}))
	b.must(enc.Encode(mailRequest{Make: []mailThing{newMailThing(&want)}}))
	b.must(enc.Encode(mailRequest{Asks: []mailThing{newMailThing(&want)}}))
	b.must(HelperMain(&in, &out))
	dec := json.NewDecoder(&out)
	for i, found := range []bool{false, false, true} {
		var a mailAnswer
		b.must(dec.Decode(&a))
		if a.Error != "" || (len(a.Seen) == 1 && a.Seen[0].There) != found {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
}

// TestHelperIsSomebodyElse looks at the process that works for another user.
func TestHelperIsSomebodyElse(t *testing.T) {
	b, m := victim(t)
	b.plan(Maildir(m, ""))
	h := b.host.helper
	if h == nil {
		t.Fatal("no helper was started")
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	b.must(err)
	status := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		k, v, _ := strings.Cut(line, ":")
		status[k] = strings.TrimSpace(v)
	}
	for k, want := range map[string]string{
		"Uid": "43210\t43210\t43210\t43210", "Gid": "43211\t43211\t43211\t43211", "Groups": "", "NoNewPrivs": "1",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		if status[k] != want {
			t.Errorf("%s is %q, want %q", k, status[k], want)
		}
	}
	// This process has given nothing up by starting it.
	if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || v != 0 {
		t.Errorf("no_new_privs of this process: %d %v", v, err)
	}
	b.apply(Maildir(m, ""), Folder(m, FolderSpec{Name: "Sent", Use: "sent", Subscribed: true}, ""))
	b.must(filepath.WalkDir(m.Path, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != someone.uid || int(st.Gid) != someone.gid {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		return nil
	}))
	// What it has to mend: a mode, and a group that somebody left.
	b.must(os.Chmod(m.Path+"/tmp", 0o000))
	b.must(os.Chown(m.Path+"/new", someone.uid, 0))
	b.wantPlan([]string{"update maildir/mallory: owner 43210:0 (new), want 43210:43211; mode 0000 (tmp), want 0700"}, Maildir(m, ""))
	b.apply(Maildir(m, ""))
	// What it cannot: something of another user's.
	b.must(os.Chown(m.Path+"/cur", 0, 0))
	if err := b.tryApply(Maildir(m, "")); err == nil || !strings.Contains(err.Error(), "Maildir/cur belongs to uid 0, want 43210: run \"chown -hR 43210:") {
		t.Errorf("mail of another uid: %v", err)
	}
	b.must(os.Mkdir(b.path("closed"), 0o700))
	closed := m
	closed.Home, closed.Path = b.path("closed"), b.path("closed", "Maildir")
	if got := b.plan(Maildir(closed, "")); len(got) != 1 || !strings.HasSuffix(got[0], "permission denied (to the owner of the mail, uid 43210)") {
		t.Errorf("a home that its owner cannot enter: %q", got)
	}
	pid := b.host.helper.cmd.Process.Pid
	b.host.Close()
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the helper outlives the host")
	}
}

// TestHelperBatch: one process for all mail of a uid.
func TestHelperBatch(t *testing.T) {
	b, m := victim(t)
	root := b.path("vmail")
	b.must(os.Mkdir(root, 0o755))
	b.must(os.Chown(root, someone.uid, someone.gid))
	var want []reconcile.Resource
	for i := range 50 {
		v := m
		v.User = fmt.Sprint("user", i)
		v.Home = filepath.Join(root, v.User)
		v.Path = v.Home + "/Maildir"
		want = append(want, virtual(v), Folder(v, FolderSpec{Name: "Sent"}, ""))
	}
	b.plan(want...)
	pid := b.host.helper.cmd.Process.Pid
	b.apply(want...)
	if now := b.host.helper.cmd.Process.Pid; now != pid {
		t.Errorf("helper %d, then %d", pid, now)
	}
}

// TestHelperFails: a helper that cannot be started, dies, hangs or says nonsense.
func TestHelperFails(t *testing.T) {
	_, m := victim(t)
	for name, tc := range map[string]struct{ script, want string }{
		"dies":     {"read x; exit 3", "EOF"},
		"says why": {"echo no room >&2; exit 3", `it says "no room"`},
		"nonsense": {"read x; echo hello", "invalid character"},
		"short":    {"read x; echo '{}'", "0 answers to 1 questions"},
		"endless":  {"read x; printf '\"'; exec tr '\\0' x </dev/zero", "unexpected EOF"},
		"hoards":   {`read x; printf '{"seen":[{}'; yes ,{} | head -n 2500000 | tr -d '\n'; printf ']}'; exec sleep 9`, "more than is taken"},
	} {
		t.Run(name, func(t *testing.T) {
			h := Host{Helper: []string{"/bin/sh", "-c", tc.script}}
			defer h.Close()
			seen := h.observeMail(t.Context(), []reconcile.Ask{{Resource: Maildir(m, "")}})
			if seen[0].Err == nil || !strings.Contains(seen[0].Err.Error(), tc.want) {
				t.Errorf("got %v, want %s", seen[0].Err, tc.want)
			}
		})
	}
	h := Host{Helper: []string{"/bin/sh", "-c", "exec sleep 60"}}
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if seen := h.observeMail(ctx, []reconcile.Ask{{Resource: Maildir(m, "")}}); seen[0].Err == nil {
		t.Error("a helper that hangs gave an answer")
	}
	// Killed, it leaves the other ends of its pipes open, as one does that cannot be killed.
	h = Host{Helper: []string{"/bin/sh", "-c", "sleep 15 & exec sleep 15"}, Patience: 200 * time.Millisecond}
	start := time.Now()
	if seen := h.observeMail(t.Context(), []reconcile.Ask{{Resource: Maildir(m, "")}}); seen[0].Err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("a helper that keeps its pipes open: %v after %v", seen[0].Err, time.Since(start))
	}
	h = Host{Helper: []string{"/nonexistent"}}
	if seen := h.observeMail(t.Context(), []reconcile.Ask{{Resource: Maildir(m, "")}}); seen[0].Err == nil {
		t.Error("no helper gave an answer")
	}
}

// TestAnswers: what is let in takes no more than a few times its octets of memory.
func TestAnswers(t *testing.T) {
	const most = 256 << 10
	for _, said := range []string{`{"seen":[{}` + strings.Repeat(",{}", 80_000), `{"way":[{}` + strings.Repeat(",{}", 80_000),
		`{"seen":[{"values":[[]` + strings.Repeat(",[]", 80_000), `{"made":[""` + strings.Repeat(`,""`, 80_000), `{"error":"` + strings.Repeat("x", most)} {
		a := NewAnswers(strings.NewReader(said + "]}]}"))
		a.Allow(most)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := json.NewDecoder(a).Decode(&mailAnswer{})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, errAnswers) || took > 8*most {
			t.Errorf("%.20s...: %d octets of memory, %v", said, took, err)
		}
	}
}

// TestHelperForges: what a helper answers concerns its own user's resource only.
func TestHelperForges(t *testing.T) {
	b, m := victim(t)
	const answer = `{"seen":[{"there":true,"ref":{"kind":"file","name":"/etc/shadow"},"values":[["tree","evil"],["content","x"]]}]}`
	h := Host{Helper: []string{"/bin/sh", "-c", "read x; echo '" + answer + "'; read y"}}
	defer h.Close()
	seen := h.observeMail(b.Context(), []reconcile.Ask{{Resource: Maildir(m, "")}})[0]
	if seen.Err != nil || seen.Have == nil {
		t.Fatalf("%+v", seen)
	}
	have := seen.Have
	if have.Ref != MaildirRef("mallory") || have.Get("tree") != "evil" || have.Get("content") != "" {
		t.Errorf("%+v", have)
	}
}

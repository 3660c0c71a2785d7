package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

// TestOwnersWay: root does not become who owns what somebody else leads it to.
func TestOwnersWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes somebody else")
	}
	const alice, bob = 65533, 65532
	top := t.TempDir()
	mkdir := func(uid int, name string) string {
		path := filepath.Join(top, name)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Lchown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(uid int, to, name string) string {
		path := filepath.Join(top, name)
		if err := errors.Join(os.Symlink(to, path), os.Lchown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mkdir(bob, "bob")
	mkdir(alice, "alice")
	maildir := mkdir(bob, "bob/Maildir")
	roots := link(0, top, "home")
	for dir, wrong := range map[string]string{
		maildir:                               "",
		filepath.Join(roots, "bob/Maildir"):   "",
		link(bob, maildir, "bob/Mail"):        "",
		link(alice, maildir, "alice/Maildir"): "alice/Maildir is on the way",
		filepath.Join(link(alice, filepath.Join(top, "bob"), "alice/x"), "Maildir"): "alice/x is on the way",
		filepath.Join(mkdir(bob, "alice/bobs")):                                     "alice is on the way",
	} {
		err := ownWay(dir, bob)
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", dir, err, wrong)
		}
	}
	w := ownersWork{dir: filepath.Join(top, "alice/Maildir"), do: func(string) error { return errors.New("done by root") }}
	if err := w.run(t.Context(), &console{out: io.Discard, err: io.Discard}, "flatten"); err == nil || !strings.Contains(err.Error(), "is on the way") {
		t.Errorf("it went on: %v", err)
	}
}

// TestAwayFromTerminal: who works as somebody else is of a session of their own, and says
// what there is to say through pipes.
func TestAwayFromTerminal(t *testing.T) {
	_, slave, err := openTerminal()
	if err != nil {
		t.Skip(err)
	}
	defer slave.Close()
	var said bytes.Buffer
	cmd := asUser(t.Context(), uint32(os.Geteuid()), uint32(os.Getegid()), slave, &said, "import-work")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `cut -d " " -f 1,6 /proc/$$/stat >&2; test -t 1 && echo "a terminal" >&2`}
	cmd.Run()
	if f := strings.Fields(said.String()); len(f) != 2 || f[0] != f[1] {
		t.Errorf("process and session, and no more: %q", said.String())
	}
}

// TestUserShows: what is for a terminal reaches none, but for the line of progress.
func TestUserShows(t *testing.T) {
	var said bytes.Buffer
	cmd := asUser(t.Context(), uint32(os.Geteuid()), uint32(os.Getegid()), &said, io.Discard)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `printf 'a\033]0;owned\007\n1 of 2\r'; sleep 0.1; printf '\033[K\303'; sleep 0.1; printf '\244\r\033[2J\342\200'`}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := said.String(), "a\\u001b]0;owned\\u0007\n1 of 2\r\x1b[Kä\\u000d\\u001b[2J"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// shell is a process of asUser's that has been made to do something else.
func shell(ctx context.Context, script string) *exec.Cmd {
	cmd := asUser(ctx, uint32(os.Geteuid()), uint32(os.Getegid()), io.Discard, io.Discard)
	cmd.Path, cmd.Args, cmd.WaitDelay = "/bin/sh", []string{"sh", "-c", script}, 200*time.Millisecond
	return cmd
}

// TestUserSays: what somebody's process says takes so much memory, and no more.
func TestUserSays(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	said, err := outputAsUser(ctx, shell(ctx, "echo first; yes | head -c 300000; exit 3"))
	if err == nil || err.Error() != "exit status 3" || !strings.HasPrefix(said, "first\ny\n") || len(said) > maxSaid {
		t.Errorf("%d octets, %.20q, %v", len(said), said, err)
	}
}

// TestUserHolds: a process that was killed, and of which its user does not let go, is not
// waited for.
func TestUserHolds(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, cmd *exec.Cmd) error{
		"output": func(ctx context.Context, cmd *exec.Cmd) error { _, err := outputAsUser(ctx, cmd); return err },
		"work":   func(ctx context.Context, cmd *exec.Cmd) error { return runAsUser(ctx, cmd, 0) },
		"mail": func(ctx context.Context, cmd *exec.Cmd) error {
			_, err := askForMail(ctx, cmd, []string{"/x"}, lookTimeout)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			file := filepath.Join(t.TempDir(), "tracer")
			cmd := shell(ctx, "strace -qq -p $$ >/dev/null 2>&1 & echo $! >"+file+"; while sleep 0.02; do :; done")
			ended := make(chan error, 1)
			go func() { ended <- wait(ctx, cmd) }()
			hold(t, file)
			cancel()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "does not end") {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Error("it is waited for")
			}
		})
	}
}

// TestUserStops: what its user has stopped ends with what it is done for.
func TestUserStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if asUser(ctx, 7, 7, io.Discard, io.Discard).WaitDelay == 0 {
		t.Error("it is never killed")
	}
	err := runAsUser(ctx, shell(ctx, "kill -STOP $$"), 7)
	if err == nil || !strings.HasPrefix(err.Error(), "run mailstead as the uid 7: ") {
		t.Error(err)
	}
}

// hold stops the tracer whose number comes to stand in file, so that what it traces is
// not reaped before the test ends.
func hold(t *testing.T, file string) {
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		data, _ := os.ReadFile(file)
		tracer, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			continue
		}
		parent := regexp.MustCompile(`(?m)^PPid:\t(\d+)$`)
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tracer))
		traced := parent.FindSubmatch(status)
		if traced == nil {
			break
		}
		status, _ = os.ReadFile(fmt.Sprintf("/proc/%s/status", traced[1]))
		if strings.Contains(string(status), fmt.Sprintf("\nTracerPid:\t%d\n", tracer)) {
			t.Cleanup(func() { syscall.Kill(tracer, syscall.SIGKILL) })
			syscall.Kill(tracer, syscall.SIGSTOP)
			return
		}
	}
	t.Skip("no strace, or it may not trace its parent")
}

// TestForgedMail: what is in a user's hands makes root take neither much, nor what it did
// not ask for, nor anything onto its terminal.
func TestForgedMail(t *testing.T) {
	for script, wrong := range map[string]string{
		`printf '{"maildir":"/x","folders":[{}'; yes ,{} | tr -d '\n'`:      "more than is taken",
		`echo '{"maildir":"/y"}'`:                                           `answered for "/y", not "/x"`,
		`printf '\033[2J' >&2; exit 3`:                                      `it says "\x1b[2J"`,
		`echo '{"maildir":"/x"}'; exit 3`:                                   "exit status 3",
		`read x; test "$x" = '"/x"' && echo '{"maildir":"/x","odd":["a"]}'`: "",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err := askForMail(ctx, shell(ctx, script), []string{"/x"}, lookTimeout)
		runtime.ReadMemStats(&after)
		cancel()
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 128 {
			t.Errorf("%s: %d MiB of memory", script, took)
		}
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", script, err, wrong)
		}
		if err == nil && (len(list) != 1 || len(list[0].Odd) != 1) {
			t.Errorf("%s: %+v", script, list)
		}
	}
}

// TestSlowMail: each Maildir has its time, however many there are of one owner.
func TestSlowMail(t *testing.T) {
	dirs, script := []string{"/a", "/b", "/c", "/d"}, ""
	for _, dir := range dirs {
		script += `sleep 1; echo '{"maildir":"` + dir + `"}'; `
	}
	if list, err := askForMail(t.Context(), shell(t.Context(), script), dirs, 3*time.Second); err != nil || len(list) != len(dirs) {
		t.Errorf("%d Maildirs, %v", len(list), err)
	}
	if _, err := askForMail(t.Context(), shell(t.Context(), `echo '{"maildir":"/a"}'; exec sleep 60`), dirs, time.Second); err == nil || !strings.Contains(err.Error(), `"/b" within 1s`) {
		t.Errorf("one that says no more: %v", err)
	}
}

// TestWorkAsOwner: root has the owner look at a Maildir, and hand it back.
func TestWorkAsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes somebody else")
	}
	const owner = 65533
	top, err := os.MkdirTemp("", "owner") // in which that owner gets, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	dir := filepath.Join(top, "Maildir")
	if err := errors.Join(maildir.MakeTree(dir, false), exec.Command("chown", "-R", fmt.Sprintf("%d:%d", owner, owner), top).Run()); err != nil {
		t.Fatal(err)
	}
	found, err := lookAtMails(t.Context(), []string{dir}, false)
	if m := found[dir]; err != nil || m == nil || m.Fault != "" || len(m.Folders) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	h, u := &handbackHost{record: &takeover{}}, ownedMail{who: "alice: ", dir: dir, owner: mailOwner{owner, owner}, bound: handbackTimeout}
	if err := h.one(t.Context(), u); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(filepath.Join(dir, maildir.UIDDBFile)); err != nil || st.Sys().(*syscall.Stat_t).Uid != owner {
		t.Errorf("%+v, %v", st, err)
	}
	if err := errors.Join(os.Lchown(dir, 0, 0), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := h.one(t.Context(), u); err == nil || !strings.Contains(err.Error(), "alice: hand back "+dir+": exit status 1\n") || !strings.Contains(err.Error(), "Maildir belongs to the uid 0\n") {
		t.Errorf("of somebody else's: %v", err)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/x/yescrypt"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"mailstead/imapserver"
	"mailstead/imapserver/control"
	"mailstead/reconcile/transfer"
)

// TestMain makes this test binary the programs that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mailstead":        main,
		"mailstead-imapd":  daemon,
		"mailstead-killer": killer,
	})
}

// daemon is "mailstead-imapd serve --config PATH", as up starts it.
func daemon() {
	if len(os.Args) != 4 || os.Args[1] != "serve" || os.Args[2] != "--config" {
		fmt.Fprintf(os.Stderr, "mailstead-imapd: %q\n", os.Args[1:])
		os.Exit(1)
	}
	err := imapserver.Run(context.Background(), os.Args[3], imapserver.Options{Log: imapserver.NewLog(os.Stderr)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestScript runs the stories of testdata/script: what an operator types, what
// the program answers, and with which exit code it ends.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("MAILSTEAD_UPDATE") == "1",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[heldLock{}] = new(*os.File)
			if err := os.Chmod(filepath.Dir(env.WorkDir), 0o755); err != nil { // as /etc is: what a mode lets others read, they can
				return err
			}
			return apart(env)
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"age":      age,
			"exits":    exits,
			"terminal": terminal,
			"snapshot": snapshot,
			"locked":   locked,
			"released": released,

			"freeports": freePorts,
			"taken":     taken,
			"serves":    servesDemo,
			"await":     awaitPort,
			"free":      awaitFree,
			"fetch":     fetch,
			"lineage":   lineage,
			"block":     block,
			"verifies":  verifies,
			"imap":      imapCommands,
			"stalling":  stalling,
			"silent":    silent,
			"confined":  confined,
		},
	})
}

// imapCommands gives commands in a session of a user's, and prints what is answered:
// imap SOCKET USER COMMAND... Each has to succeed.
func imapCommands(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: imap SOCKET USER COMMAND...")
	}
	conn, err := control.Session(context.Background(), ts.MkAbs(args[0]), args[1])
	ts.Check(err)
	s, err := transfer.Begin(context.Background(), conn)
	ts.Check(err)
	defer s.Close()
	for _, command := range args[2:] {
		lines, err := s.Command("%s", command)
		for _, line := range lines {
			fmt.Fprintln(ts.Stdout(), line)
		}
		ts.Check(err)
	}
}

// exits runs a program and compares its exit code: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%v ended with %d, want %d", args[1:], got, want)
	}
}

// snapshot writes what tells whether anything below a directory was written:
// snapshot FILE DIR.
func snapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: snapshot FILE DIR")
	}
	var b strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		fmt.Fprintf(&b, "%s inode %d mode %o uid %d size %d mtime %d.%09d ctime %d.%09d\n",
			path, st.Ino, st.Mode, st.Uid, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
		return err
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// heldLock is the key of the lock that a script holds.
type heldLock struct{}

// locked takes the lock of a state directory, as another mailstead would:
// locked FILE. It is held until released.
func locked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: locked FILE")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR|os.O_CREATE, 0o600)
	ts.Check(err)
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	*ts.Value(heldLock{}).(**os.File) = f
}

func released(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check((*ts.Value(heldLock{}).(**os.File)).Close())
}

// verifies checks a password against the hash in a file: [!] verifies FILE PASSWORD.
func verifies(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] verifies FILE PASSWORD")
	}
	hash := strings.TrimSuffix(ts.ReadFile(args[0]), "\n")
	ok, err := verify(hash, args[1])
	ts.Check(err)
	if ok == neg {
		ts.Fatalf("%q verifies against %s: %v", args[1], hash, ok)
	}
}

// verify checks a password with go-crypt, as the daemon does.
func verify(hash, password string) (bool, error) {
	if strings.HasPrefix(hash, "$y$") {
		again, err := yescrypt.Hash([]byte(password), []byte(hash))
		return string(again) == hash, err
	}
	decoder, err := crypt.NewDefaultDecoder()
	if err != nil {
		return false, err
	}
	digest, err := decoder.Decode(hash)
	if err != nil {
		return false, err
	}
	return digest.MatchAdvanced(password)
}

// block writes the first block of code after some words of a page of docs to a
// file: block PAGE WORDS FILE.
func block(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: block PAGE WORDS FILE")
	}
	text, err := os.ReadFile(filepath.Join("../../docs", args[0]))
	ts.Check(err)
	_, after, _ := strings.Cut(string(text), args[1])
	_, after, _ = strings.Cut(after, "```")
	_, after, _ = strings.Cut(after, "\n") // the name of a language
	code, _, ok := strings.Cut(after, "```")
	if !ok {
		ts.Fatalf("%s has no block of code after %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(code), 0o600))
}

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mailstead/imapserver/confine"
)

// silent listens until the script ends, and sets SILENT to the port. It says nothing to
// who connects, and makes the file "connected" then.
func silent(ts *testscript.TestScript, _ bool, _ []string) {
	ln, err := net.Listen("tcp", loopback+":0")
	ts.Check(err)
	ts.Setenv("SILENT", strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	connected, ended := ts.MkAbs("connected"), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			os.WriteFile(connected, nil, 0o600)
		}
	}()
	ts.Defer(func() {
		ln.Close()
		<-ended
	})
}

// stalling is a way to the server at a port of this host, until the script ends, and sets
// STALLING to its own. On each connection it passes on so many octets of the server's, and
// no more.
func stalling(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: stalling PORT OCTETS")
	}
	most, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ln, err := net.Listen("tcp", loopback+":0")
	ts.Check(err)
	ts.Setenv("STALLING", strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", net.JoinHostPort(loopback, args[0]))
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				io.Copy(server, client) // until the client leaves
				server.Close()
				client.Close()
			}()
			go io.CopyN(client, server, most)
		}
	}()
	ts.Defer(func() { ln.Close() })
}

// confined waits until the import that this script has started by hand is about to read
// what a server says, and wants that its work may do no more than a worker by then.
func confined(ts *testscript.TestScript, _ bool, _ []string) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		parent := processOf(func(words, _ string) bool {
			return strings.Contains(words, "\x00import\x00") && strings.Contains(words, ts.Getenv("WORK"))
		})
		work := processOf(func(words, status string) bool {
			return words == "mailstead\x00import-work\x00" && strings.Contains(status, "\nPPid:\t"+parent+"\n") &&
				(confine.Landlock() != nil || strings.Contains(status, "\nSeccomp:\t2\n"))
		})
		if _, err := os.Stat(ts.MkAbs("connected")); err == nil && parent != "" && work != "" {
			return
		}
	}
	ts.Fatalf("no import is confined")
}

// processOf gives the id of a process by its words, each of which ends with a NUL, and
// by what proc_pid_status(5) says of it; "" if there is none.
func processOf(is func(words, status string) bool) string {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		words, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		if is(string(words), string(status)) {
			return filepath.Base(dir)
		}
	}
	return ""
}

// TestPasswordIn: a password that every user of the host can read is not used.
func TestPasswordIn(t *testing.T) {
	dir := t.TempDir()
	for open := dir; open != os.TempDir() && open != "/"; open = filepath.Dir(open) {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "password")
	if err := os.WriteFile(path, []byte("wonder\r\nland\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		file, dir os.FileMode
		read      bool
	}{{0o600, 0o755, true}, {0o640, 0o755, true}, {0o644, 0o755, false}, {0o604, 0o711, false}, {0o644, 0o750, true}} {
		if err := errors.Join(os.Chmod(path, row.file), os.Chmod(dir, row.dir)); err != nil {
			t.Fatal(err)
		}
		password, err := passwordIn(path)
		if read := password == "wonder" && err == nil; read != row.read {
			t.Errorf("%v below %v: %q, %v", row.file, row.dir, password, err)
		}
	}
	t.Chdir(dir)
	for mode, read := range map[os.FileMode]bool{0o755: false, 0o700: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := passwordIn("password"); read != (err == nil) {
			t.Errorf("by its name alone, in %v: %v", mode, err)
		}
	}
	if _, err := passwordIn(os.DevNull); err == nil || strings.Contains(err.Error(), "every user") {
		t.Errorf("what is no file: %v", err)
	}
}

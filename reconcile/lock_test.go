package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if state := os.Getenv("MAILSTEAD_TEST_HOLD"); state != "" {
		hold(state)
	}
	os.Exit(m.Run())
}

// hold takes the lock and keeps it until its input ends.
func hold(state string) {
	if _, err := TakeLock(context.Background(), state, 0); err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("held\n")
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func TestLock(t *testing.T) {
	state := filepath.Join(t.TempDir(), "a", "state")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAILSTEAD_TEST_HOLD="+state)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	buf := make([]byte, 100)
	if n, err := stdout.Read(buf); err != nil || string(buf[:n]) != "held\n" {
		t.Fatalf("%q %v", buf[:n], err)
	}

	_, err = TakeLock(t.Context(), state, 0)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	if locked.PID != cmd.Process.Pid || !strings.Contains(locked.Command, filepath.Base(os.Args[0])) {
		t.Errorf("the holder is said to be %d (%s), and is %d", locked.PID, locked.Command, cmd.Process.Pid)
	}
	if _, err := Apply(t.Context(), &Plan{}, Options{State: state}); !errors.As(err, &locked) {
		t.Errorf("apply: got %v, want a LockedError", err)
	}
	// A lock ends with its holder, however that ends.
	time.AfterFunc(100*time.Millisecond, func() { cmd.Process.Kill() })
	l, err := TakeLock(t.Context(), state, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if l, err = TakeLock(t.Context(), state, 0); err != nil {
		t.Fatal(err)
	}
	l.Release()
	st, err := os.Stat(filepath.Join(state, LockFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the lock file: %v %v", st, err)
	}
}

func TestLockWaitEndsWithContext(t *testing.T) {
	state := t.TempDir()
	l, err := TakeLock(t.Context(), state, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := TakeLock(ctx, state, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The device of the kernel's list is not always the one that stat gives.
func TestLockPID(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), LockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	same := fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev))
	self := os.Getpid()
	const none = 1 << 30 // no process has this number
	for _, tc := range []struct {
		name, device, kind string
		inode              uint64
		pid, want          int
	}{
		{"same device", same, "FLOCK", st.Ino, none, none},
		{"another device, and the holder has the file open", "00:fff", "FLOCK", st.Ino, self, self},
		{"another device, and another file", "00:fff", "FLOCK", st.Ino, none, 0},
		{"another inode", same, "FLOCK", st.Ino + 1, self, 0},
		{"another kind of lock", same, "POSIX", st.Ino, self, 0},
	} {
		list := fmt.Sprintf("7: OFDLCK ADVISORY  READ -1 00:06:5 0 EOF\n7: -> FLOCK  ADVISORY  WRITE 1 %s:%d 0 EOF\n8: %s  ADVISORY  WRITE %d %s:%d 0 EOF\n",
			same, st.Ino, tc.kind, tc.pid, tc.device, tc.inode)
		if got := lockPID(strings.NewReader(list), &st); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// terminal runs a program whose three streams are a terminal:
//
//	terminal CODE ANSWERS PROGRAM ARGS...
//
// Each line of the file ANSWERS is "prompt => reply": the reply is typed once
// the prompt has appeared, with a line feed unless it is ^C. What the terminal
// showed goes to $WORK/screen.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal CODE ANSWERS PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	cmd := exec.Command(lookPath(ts, args[2]), args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "TERM", "NO_COLOR", "XDG_STATE_HOME"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	screen, code, err := onTerminal(cmd, ts.ReadFile(args[1]))
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), "screen"), []byte(screen), 0o600))
	ts.Logf("[screen]\n%s", screen)
	ts.Check(err)
	if code != want {
		ts.Fatalf("%v ended with %d, want %d", args[2:], code, want)
	}
}

func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); !strings.Contains(name, "/") {
			if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
				return path
			}
		}
	}
	return ts.MkAbs(name)
}

// onTerminal runs cmd on a terminal of its own and answers its prompts.
func onTerminal(cmd *exec.Cmd, answers string) (screen string, code int, err error) {
	master, slave, err := openTerminal()
	if err != nil {
		return "", 0, err
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return "", 0, err
	}
	shown := &watched{}
	drained := make(chan struct{})
	go func() {
		io.Copy(shown, master) // ends with EIO once the last of cmd's descriptors is closed
		close(drained)
	}()
	for line := range strings.Lines(answers) {
		prompt, reply, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
		if !ok {
			err = fmt.Errorf("not an answer: %q", line)
		} else {
			err = shown.wait(prompt, 20*time.Second)
		}
		if err != nil {
			cmd.Process.Kill()
			break
		}
		if reply == "^C" {
			reply = "\x03"
		} else {
			reply += "\n"
		}
		io.WriteString(master, reply)
	}
	waited := cmd.Wait()
	<-drained
	var exit *exec.ExitError
	if waited != nil && !errors.As(waited, &exit) {
		err = errors.Join(err, waited)
	}
	return strings.ReplaceAll(shown.String(), "\r\n", "\n"), cmd.ProcessState.ExitCode(), err
}

// openTerminal makes a pseudo-terminal (ptmx(4)).
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}

// watched collects what a terminal shows and lets one goroutine wait for text.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen int // up to here text has been waited for
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// wait returns once text has appeared after what was waited for before.
func (w *watched) wait(text string, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		w.mu.Lock()
		i := bytes.Index(w.text.Bytes()[w.seen:], []byte(text))
		if i >= 0 {
			w.seen += i + len(text)
		}
		w.mu.Unlock()
		if i >= 0 {
			return nil
		}
	}
	return fmt.Errorf("the terminal did not show %q", text)
}

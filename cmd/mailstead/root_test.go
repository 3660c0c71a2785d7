package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// TestHelp holds every command to what style asks of its help.
func TestHelp(t *testing.T) {
	root := newRoot()
	for _, cmd := range append(root.Commands(), root) {
		t.Run(cmd.Name(), func(t *testing.T) { checkHelp(t, cmd) })
		for _, sub := range cmd.Commands() {
			if cmd != root {
				t.Run(cmd.Name()+" "+sub.Name(), func(t *testing.T) { checkHelp(t, sub) })
			}
		}
	}
	if n := len(root.Commands()); n != len(commands) {
		t.Errorf("%d commands, and %d constructors", n, len(commands))
	}
}

func checkHelp(t *testing.T, cmd *cobra.Command) {
	text, codes, ok := strings.Cut(cmd.Long, "\n\nEXIT STATUS\n")
	if !ok || !strings.HasPrefix(codes, "  0  ") {
		t.Error("the help has no section EXIT STATUS that begins with 0")
	}
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) > 80 {
			t.Errorf("the help has a line of %d characters: %s", len(line), line)
		}
	}
	if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || cmd.Short != strings.TrimSpace(cmd.Short) {
		t.Errorf("the summary %q is not a phrase", cmd.Short)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" {
			t.Errorf("--%s is not explained", f.Name)
		}
	})
}

func TestReport(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code int
		want string
	}{
		"done":    {nil, 0, ""},
		"plain":   {errTest, 1, "mailstead: error: it broke\n"},
		"hints":   {hint(hint(errTest, "inner"), "outer %q", "x"), 1, "mailstead: error: it broke\nhint: outer \"x\"\nhint: inner\n"},
		"code":    {hint(&exitError{code: exitLocked, err: hint(errTest, "wait")}, "more"), 5, "mailstead: error: it broke\nhint: more\nhint: wait\n"},
		"escape":  {testError("a\x1b[2J\nb\u202e"), 1, "mailstead: error: a\\u001b[2J\nb\\u202e\n"},
		"silent":  {&exitError{code: exitPending}, 2, ""},
		"wrapped": {fmt.Errorf("alice: %w", &exitError{code: exitPending}), 2, ""},
		"joined":  {errors.Join(&exitError{code: exitFailed}, errTest), 1, "mailstead: error: it broke\n"},
		"no room": {fmt.Errorf("write x: %w", unix.ENOSPC), 1, "mailstead: error: write x: no space left on device\nhint: make room on that file system (\"df\" and \"df -i\" show space and inodes)\n"},
		"goes on": {goesOn(&exitError{code: exitPartial, err: unix.EDQUOT}), 6, "mailstead: error: disk quota exceeded\n" +
			"hint: the disk quota of the owner is used up: raise it or make room, then apply again: it goes on where this one stopped\n"},
		"has a hint": {goesOn(hint(unix.ENOSPC, "do this")), 1, "mailstead: error: no space left on device\nhint: do this\n"},
		"all said":   {errors.Join(&exitError{code: exitFailed}, &exitError{code: exitLocked}), 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var w strings.Builder
			if code := report(&w, test.err); code != test.code || w.String() != test.want {
				t.Errorf("exit %d and\n%swant %d and\n%s", code, w.String(), test.code, test.want)
			}
		})
	}
}

// TestOutput: what could not be written is followed by nothing, and is told at the end
// unless there is something worse to tell.
func TestOutput(t *testing.T) {
	var w gapped
	o := &output{Writer: &w}
	for _, word := range []string{"one ", "two ", "three "} {
		fmt.Fprint(o, word)
	}
	if w.String() != "one " {
		t.Errorf("written: %q", w.String())
	}
	for _, err := range []error{nil, errTest, &exitError{code: exitPending}, fmt.Errorf("say it: %w", o.failed)} {
		if got := o.ended(err); (got == errTest) != (err == errTest) || !errors.Is(got, errTest) && !errors.Is(got, unix.ENOSPC) {
			t.Errorf("%v ends as %v", err, got)
		}
	}
	if err := (&output{}).ended(nil); err != nil {
		t.Error(err)
	}
}

// gapped has no room for what is written second.
type gapped struct {
	strings.Builder
	n int
}

func (w *gapped) Write(p []byte) (int, error) {
	if w.n++; w.n == 2 {
		return 0, unix.ENOSPC
	}
	return w.Builder.Write(p)
}

// TestJournal: on the journal's stream every line of an error is one of
// priority "err"; on any other stream nothing is added.
func TestJournal(t *testing.T) {
	for name, onStream := range map[string]bool{"journal": true, "file": false} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil {
				t.Fatal(err)
			}
			if !onStream {
				st.Ino++
			}
			cmd := exec.Command("mailstead", "aply")
			cmd.Stderr = f
			cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino))
			if err := cmd.Run(); err == nil {
				t.Error("it did not fail")
			}
			got, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			want := "mailstead: error: no such command: \"aply\"\nhint: did you mean \"mailstead apply\"?\n"
			if onStream {
				want = "<3>" + strings.Replace(want, "\nhint", "\n<3>hint", 1)
			}
			if string(got) != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

const errTest = testError("it broke")

type testError string

func (e testError) Error() string { return string(e) }

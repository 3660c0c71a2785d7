package reconcile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stopAt applies and is killed when it has called crash n times.
func stopAt(m *memory, state string, want []Resource, n int) {
	defer func() {
		m.crash = func(string) error { return nil }
		if p := recover(); p != nil && p != any(errInjected) {
			panic(p)
		}
	}()
	p := m.compare(state, want)
	m.crash = func(string) error {
		if n--; n < 0 {
			panic(errInjected)
		}
		return nil
	}
	m.mustApply(state, p)
}

// What was interrupted is said by the next plan, and by none after it is done.
func TestInterruptionIsSaid(t *testing.T) {
	want := []Resource{res("plain", "a", "mode", "1"), res("plain", "b", "mode", "1"), res("unit", "u", "content", "1"), res("unit", "v", "content", "1")}
	const began = `^the apply that began on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+ was interrupted `
	for n, where := range []string{
		"at change 1 of 4, plain/a: ", "at change 1 of 4, plain/a: ", // before and after it was made
		"at change 2 of 4, plain/b: ", "at change 2 of 4, plain/b: ",
		"at change 3 of 4, unit/u: ", "at change 3 of 4, unit/u: ", "at change 4 of 4, unit/v: ", "at change 4 of 4, unit/v: ",
		"while it brought the changes up to 4 of 4, unit/v, into force: ",
	} {
		m := newMemory(t)
		state := memoryDir(t)
		stopAt(m, state, want, n)
		p := m.compare(state, want)
		if len(p.Notes) != 1 || !regexp.MustCompile(began+regexp.QuoteMeta(where)).MatchString(p.Notes[0]) {
			t.Errorf("stopped at %d: %q, want %q", n, p.Notes, where)
		}
		m.mustApply(state, p)
		if p := m.compare(state, want); !p.Empty() || len(p.Notes) > 0 {
			t.Errorf("stopped at %d, after the next apply: %+v", n, p)
		}
	}
}

// A step of another run, a torn one and a link in its place say nothing.
func TestStepOfAnotherRun(t *testing.T) {
	want := []Resource{res("plain", "a", "mode", "1")}
	for name, spoil := range map[string]func(path string) error{
		"none": os.Remove,
		"torn": func(path string) error { return os.Truncate(path, 20) },
		"link": func(path string) error {
			return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path))
		},
		"older": func(path string) error {
			line := `{"run":"2020-01-01T00:00:00Z","number":7,"ref":{"kind":"plain","name":"x"}}`
			return os.WriteFile(path, []byte(line+"\n"), 0o600)
		},
	} {
		m := newMemory(t)
		state := memoryDir(t)
		stopAt(m, state, want, 0)
		if err := spoil(filepath.Join(state, StepFile)); err != nil {
			t.Fatal(err)
		}
		if p := m.compare(state, want); len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "interrupted before the first of its 1 changes") {
			t.Errorf("%s: %q", name, p.Notes)
		}
	}
}

// While the apply is at work, a plan says so instead, and is not to be applied.
func TestPlanBesideApply(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	want := []Resource{res("plain", "a", "mode", "1")}
	stopAt(m, state, want, 0)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "MAILSTEAD_TEST_HOLD="+state)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err == nil {
		_, err = stdout.Read(make([]byte, 100))
	}
	if err != nil {
		t.Fatal(err)
	}
	p := m.compare(state, want)
	if want := fmt.Sprintf("is at work as process %d, at change 1 of 1, plain/a: ", holder.Process.Pid); len(p.Notes) != 1 || !strings.Contains(p.Notes[0], want) {
		t.Errorf("%q, want %s", p.Notes, want)
	}
	stdin.Close()
	holder.Wait()
	if _, err := Apply(t.Context(), p, Options{Table: m.table(), State: state}); !errors.Is(err, ErrBehind) {
		t.Errorf("got %v, want ErrBehind", err)
	}
	m.mustApply(state, m.compare(state, want))
}

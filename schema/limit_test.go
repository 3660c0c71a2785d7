package schema

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Descriptions that are small and need much end with a message, not with the
// machine. What is given up goes on in its process, so that each has its own.
// MAILSTEAD_E2E=1 shows it with the limits of Load, in place of lower ones that take less time.
func TestLimits(t *testing.T) {
	full := os.Getenv("MAILSTEAD_E2E") == "1"
	if dir := os.Getenv("MAILSTEAD_TEST_LOAD"); dir != "" {
		limit := limits{time: 20 * time.Second, heap: 100 << 20}
		if full {
			limit = usual
		}
		_, err := loadWithin(limit, Options{Inputs: []string{dir}})
		fmt.Println(err)
		return
	}
	for name, c := range map[string]struct{ source, want string }{
		"laughs":   {laughs(), "error[limit]"},
		"crowd":    {crowd(), "error[limit]"},
		"brackets": {"hosts: " + strings.Repeat("[", 1_000_000), "error["},
		"depth":    {strings.Repeat("a: ", 20_000) + "1\n", "error["},
		"unary":    {"hosts: " + strings.Repeat("-", 1_000_000) + "1\n", "error["},
		"cycle":    {"hosts: hosts.x\n", "error["},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "host.cue"), []byte(c.source), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestLimits$")
			cmd.Env = append(os.Environ(), "MAILSTEAD_TEST_LOAD="+dir)
			start := time.Now()
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, want a fault with %s:\n%.2000s", err, c.want, out)
			}
			took, memory := time.Since(start).Round(time.Millisecond), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10
			t.Logf("%v, %d MiB", took, memory)
			if full && memory > 1024 {
				t.Errorf("took %d MiB, want at most 1024", memory)
			}
		})
	}
}

// laughs makes a string of ten strings of ten strings, and so on.
func laughs() string {
	var b strings.Builder
	b.WriteString("_l0: \"ha\"\n")
	for i := 1; i <= 12; i++ {
		fmt.Fprintf(&b, "_l%d: \"%s\"\n", i, strings.Repeat(fmt.Sprintf(`\(_l%d)`, i-1), 10))
	}
	return b.String() + "hosts: _l12: {}\n"
}

// crowd makes a struct of ten structs of ten structs, none of which CUE can share.
func crowd() string {
	var b strings.Builder
	b.WriteString("_l0: {}\n")
	for i := 1; i <= 9; i++ {
		fmt.Fprintf(&b, "_l%d: {for n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] {\"f\\(n)\": _l%d & {n%d: n}}}\n", i, i-1, i)
	}
	return b.String() + "hosts: _l9\n"
}

// A panic inside CUE is a fault with its place in the program, and no crash.
func TestPanic(t *testing.T) {
	d := usual.run(func() { panic("lost") })
	if d == nil || d.Code != CodeInternal || !strings.Contains(d.Message, "lost") || !strings.Contains(d.Hint, "limit_test.go") {
		t.Errorf("got %+v", d)
	}
}

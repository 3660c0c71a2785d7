package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestParallelApplies has 50 applies of two descriptions at once, some of which
// are killed. One of them is at work at a time, whoever does not get the lock says
// who has it, and in the end the host is what one of the descriptions says.
func TestParallelApplies(t *testing.T) {
	dir := t.TempDir()
	w := newCrashWorld(t, filepath.Join(dir, "x"))
	var all sync.WaitGroup
	var mu sync.Mutex
	ended := map[int]int{}
	for i := range 50 {
		description := filepath.Join(w.top, []string{"first.cue", "second.cue"}[i%2])
		args := []string{"apply", "--rootless", "--yes", description}
		if i%5 != 0 {
			args = append(args, "--lock-timeout", "60s")
		}
		all.Go(func() {
			c := exec.Command("mailstead", args...)
			if i%7 == 0 {
				time.AfterFunc(time.Duration(20*i)*time.Millisecond, func() {
					if c.Process != nil {
						c.Process.Kill()
					}
				})
			}
			out, _ := c.CombinedOutput()
			code := c.ProcessState.ExitCode()
			mu.Lock()
			defer mu.Unlock()
			ended[code]++
			switch {
			case code == 5 && !strings.Contains(string(out), "held by process"):
				t.Errorf("locked, and it does not say by whom:\n%s", out)
			case code == 4 && !strings.Contains(string(out), "hint: plan again"):
				t.Errorf("stale:\n%s", out)
			case code != 0 && code != 4 && code != 5 && code != -1:
				t.Errorf("exit %d:\n%s", code, out)
			}
		})
	}
	all.Wait()
	t.Logf("ended with %v", ended)
	if ended[0] == 0 {
		t.Error("no apply succeeded")
	}
	in := 0
	var plans string
	for _, description := range []string{"first.cue", "second.cue"} {
		c := exec.Command("mailstead", "plan", "--rootless", "--detailed-exitcode", filepath.Join(w.top, description))
		out, err := c.CombinedOutput()
		if err == nil {
			in++
			w.sameApplied(description)
		}
		plans += fmt.Sprintf("%s: %v\n%s\n", description, err, out)
	}
	if in != 1 {
		t.Errorf("the host is not what one description says:\n%s", plans)
	}
}

// sameApplied checks that what the deploy hook goes by is this description.
func (w *crashWorld) sameApplied(description string) {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "state/applied.json"))
	w.must(err)
	if first := strings.Contains(string(data), "old.example.org"); first != (description == "first.cue") {
		w.Errorf("the host is %s's, and the hook's record another's", description)
	}
}

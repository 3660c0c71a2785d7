package desired

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mailstead/reconcile"
)

// TestNothingOutsideRoots builds random descriptions, up to three strings of
// which are an attacker's, as no description that was checked can be: the builder
// and the writers of files stand by themselves. Every file is below a root that
// the description declares, and every unit has the lines that it should have.
// MAILSTEAD_DESCRIPTIONS is how many.
func TestNothingOutsideRoots(t *testing.T) {
	count, _ := strconv.Atoi(os.Getenv("MAILSTEAD_DESCRIPTIONS"))
	if count == 0 {
		count = 10_000
		if testing.Short() {
			count = 1000
		}
	}
	v := newVerifier(t)
	built := 0
	for seed := range count {
		rnd := rand.New(rand.NewPCG(uint64(seed), 13))
		h := goodHost()
		var what []string
		for range 1 + rnd.IntN(3) {
			field, value := hostileFields[rnd.IntN(len(hostileFields))], hostileString(rnd)
			hostileHost(h, field, value)
			what = append(what, fmt.Sprintf("%s %q", field, value))
		}
		list, err := Build(h, goodFacts(h, rnd.IntN(2) == 0), Options{})
		if err != nil {
			continue
		}
		built++
		checkList(t, h, list, strings.Join(what, ", "))
		v.add(list, strings.Join(what, ", "))
		if t.Failed() {
			t.Fatalf("description %d", seed)
		}
	}
	v.flush()
	t.Logf("%d descriptions, %d of which were built", count, built)
	if built < count/50 {
		t.Errorf("only %d of %d descriptions were built: the test shows little", built, count)
	}
}

// hostileString is out of the list, two of it in one, or one with a part changed.
func hostileString(rnd *rand.Rand) string {
	s := hostileValues[rnd.IntN(len(hostileValues))]
	switch rnd.IntN(4) {
	case 0:
		return s
	case 1:
		return s + hostileValues[rnd.IntN(len(hostileValues))]
	case 2:
		return "/srv/" + strings.TrimPrefix(s, "/")
	}
	b := []byte("/srv/mail.example.org")
	for range 1 + rnd.IntN(3) {
		b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
	}
	return string(b)
}

// verifier has systemd look at units, many at once: asking takes it longer than
// reading them. Without systemd-analyze, or outside of the tests of a host, it
// does nothing.
type verifier struct {
	*testing.T
	dir  string
	seen map[string]bool // by content
	what []string
}

func newVerifier(t *testing.T) *verifier {
	v := &verifier{T: t, seen: map[string]bool{}}
	if os.Getenv("MAILSTEAD_E2E") == "1" {
		v.dir = t.TempDir()
		for _, unit := range []string{"mailstead-imapd", "mailstead-spawn", "mailstead-login@", "mailstead-pam@"} {
			v.put(unit+".service", "[Service]\nExecStart=/bin/true\n") // that the sockets name
		}
	}
	return v
}

// add keeps the units of a description that no other has, under names of their own.
func (v *verifier) add(list []reconcile.Resource, what string) {
	if v.dir == "" {
		return
	}
	for _, r := range list {
		content := r.Get("content")
		if r.Ref.Kind != "unit" || v.seen[content] || len(v.seen) > 3000 {
			continue
		}
		v.seen[content] = true
		name := fmt.Sprintf("u%d-%s", len(v.what), r.Ref.Name)
		v.what = append(v.what, what)
		// Neither are the programs on this host, nor the directories of those.
		content = strings.NewReplacer("/usr/local/bin/mailstead-imapd", "/bin/true", "/usr/local/bin/mailstead-pam", "/bin/true", "/usr/local/bin/mailstead", "/bin/true").Replace(content)
		v.put(name, content)
		if socket, ok := strings.CutSuffix(name, ".socket"); ok && strings.Contains(content, "\nAccept=yes\n") {
			v.put(socket+"@.service", "[Service]\nExecStart=/bin/true\n")
		}
	}
	if len(v.what) >= 100 {
		v.flush()
	}
}

func (v *verifier) put(name, content string) {
	v.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, name), []byte(content), 0o644); err != nil {
		v.Fatal(err)
	}
}

func (v *verifier) flush() {
	v.Helper()
	if len(v.what) == 0 {
		return
	}
	files, err := filepath.Glob(filepath.Join(v.dir, "u*"))
	if err != nil {
		v.Fatal(err)
	}
	cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+v.dir+":")
	out, _ := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// A program in a directory of the attacker's is not on this host.
		if !strings.Contains(line, "/mailstead") || !strings.HasSuffix(line, " is not executable: No such file or directory\n") {
			v.Errorf("systemd-analyze: %s", line)
		}
	}
	if v.Failed() {
		v.Logf("of %q", v.what)
	}
	v.what = nil
	for _, name := range files {
		os.Remove(name)
	}
}

package bench_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/bench"
)

// count is a number that an environment variable may replace.
func count(t testing.TB, name string, n int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return n
}

// descriptors allows this process, and the servers, as many as there may be, and
// gives their number.
func descriptors(t testing.TB) int {
	t.Helper()
	const most = 1 << 20
	var have syscall.Rlimit
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most}) == nil {
		return most
	}
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &have)
	if err == nil { // explicitly, or else the servers get what this process began with
		have.Cur = have.Max
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &have)
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(have.Max)
}

func crowd(s *server) *bench.Crowd {
	return &bench.Crowd{
		Address: s.address, TLS: s.tls, Password: password, Dialers: 16, Box: "INBOX", Again: 20,
		User: func(n int) string { return s.people[n%len(s.people)].name },
	}
}

// TestBenchLoadIdle prints what an idle session under TLS takes, by the process
// that it takes it in.
func TestBenchLoadIdle(t *testing.T) {
	if !chosen(t)("idle") {
		t.Skip("not asked for")
	}
	// login has two of each session, and some of its own.
	n := min(count(t, "MAILSTEAD_BENCH_SESSIONS", 25_000), descriptors(t)/2-200)
	fmt.Println("| idle sessions under TLS | server | process | KiB each | a GiB has |\n|---|---|---|---|---|")
	for _, s := range loadServers(t, people(loadUsers)) {
		n := n
		if s.name == "dovecot" { // which has a process for each
			n = min(n, 1000)
		}
		s.tls = secure(nil)
		s.up(t)
		t.Cleanup(s.down)
		c := crowd(s)
		if err := c.Join(loadUsers); err != nil { // every account is open, and has been looked through
			t.Fatal(err)
		}
		c.Leave()
		rest(t, s)
		before := bench.MemoryByRole(s.daemon.Process.Pid)
		if err := c.Join(n); err != nil {
			t.Fatal(err)
		}
		rest(t, s)
		after := bench.MemoryByRole(s.daemon.Process.Pid)
		var roles []string
		for role := range after {
			roles = append(roles, role)
		}
		slices.Sort(roles)
		for _, role := range roles {
			each := float64(after[role]-before[role]) / float64(n)
			if each >= 0.5 {
				fmt.Printf("| %d | %s | %s | %.1f | %.0f |\n", n, s.name, role, each, (1<<20)/each)
			}
		}
		c.Leave()
		s.down()
	}
}

// rest waits until a server has done what it does in the background, and the Go
// runtime has given back what was needed for a moment.
func rest(t testing.TB, s *server) {
	t.Helper()
	time.Sleep(5 * time.Second)
	settle(t, []*server{s})
}

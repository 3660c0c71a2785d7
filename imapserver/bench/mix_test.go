package bench_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"mailstead/imapserver/bench"
)

// mixed has 50 clients work on the mailboxes of ten users.
func mixed(t testing.TB, s *server, d time.Duration, seed int64) *bench.Mix {
	t.Helper()
	// As many sources as a server has of such a number of clients: what is known of
	// each of them takes memory up to a limit, which a flood of sources would reach.
	m := &bench.Mix{Address: s.address, Clients: 50, Sources: 2000, Boxes: []string{"INBOX", "mixa", "mixb"}, Password: password, Seed: seed}
	for n := range 10 {
		m.Users = append(m.Users, user(n+1))
	}
	for _, err := range m.Run(d) {
		t.Errorf("%s: %v", s.name, err)
	}
	return m
}

// TestMix has clients work on the same mailboxes at once: no answer contradicts
// another, and at the end all is there that has to be.
func TestMix(t *testing.T) {
	_, address := startOwn(t, ownSettings(t, t.TempDir(), 0, nil, people(3)))
	m := &bench.Mix{Address: address, Clients: 15, Users: []string{user(1), user(2), user(3)}, Boxes: []string{"INBOX", "mixa", "mixb"}, Password: password, Seed: 1}
	for _, err := range m.Run(3 * time.Second) {
		t.Error(err)
	}
	t.Logf("%d commands, %d of them refused, %d sessions", m.Commands.Load(), m.Refused.Load(), m.Sessions.Load())
	if m.Commands.Load() < 100 {
		t.Error("hardly anything was asked")
	}
}

// TestBenchLoadMix prints how many commands 50 clients get answered that do
// everything at once, and fails where a server contradicts itself.
func TestBenchLoadMix(t *testing.T) {
	if !chosen(t)("mix") {
		t.Skip("not asked for")
	}
	all := loadServers(t, people(loadUsers))
	for _, s := range all {
		s.up(t)
		t.Cleanup(s.down)
	}
	d := duration(t, "MAILSTEAD_BENCH_MIX", 20*time.Second)
	measured := map[string][]float64{}
	for n := range 3 {
		for _, s := range all {
			settle(t, all)
			before := bench.CPU(s.daemon.Process.Pid)
			m := mixed(t, s, d, time.Now().Unix()+int64(n))
			cpu := bench.CPU(s.daemon.Process.Pid) - before
			t.Logf("%s: %d commands, %d of them refused, %d sessions, processor time of the server %s for each command",
				s.name, m.Commands.Load(), m.Refused.Load(), m.Sessions.Load(), show(cpu/time.Duration(m.Commands.Load())))
			measured[s.name] = append(measured[s.name], float64(m.Commands.Load()))
		}
	}
	one, parted, theirs := middle(measured["one process"]), middle(measured["parted"]), middle(measured["dovecot"])
	fmt.Printf("| commands of 50 clients in %s | %.0f | %.0f | %.0f | %.2f |\n", d, one, parted, theirs, parted/theirs)
}

// duration is a time that an environment variable may replace.
func duration(t testing.TB, name string, d time.Duration) time.Duration {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return d
}

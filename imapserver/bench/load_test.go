package bench_test

import (
	"crypto/tls"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver/bench"
	"mailstead/imapserver/config"
)

// loadUsers is the users of the tests of load.
const loadUsers = 1000

// tuned is Dovecot as its documentation has it for many logins: processes that
// serve one connection after the other.
const tuned = `
service imap-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 4000
}
service imap {
  service_count = 1000
  process_min_avail = 4
}
`

// prepareLoad gives a directory with a Maildir of ten messages for each user.
func prepareLoad(t testing.TB, name string, list []person) string {
	t.Helper()
	dir := filepath.Join(benchDir(), name)
	made(t, dir, func(dir string) {
		corpus := bench.NewCorpus(1)
		for _, p := range list {
			generate(t, corpus, filepath.Join(dir, "homes", p.name, "Maildir"), 10)
		}
		giveAway(t, dir)
		for _, p := range list {
			if p.uid != mailUID {
				home := filepath.Join(dir, "homes", p.name)
				if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%[1]d", p.uid), home).CombinedOutput(); err != nil {
					t.Fatalf("chown: %v\n%s", err, out)
				}
			}
		}
	})
	return dir
}

// loadServers is the daemon in one process, the daemon in several, and Dovecot.
func loadServers(t testing.TB, list []person) []*server {
	suffix := ""
	if list[0].uid != mailUID {
		suffix = "-uids"
	}
	one := newMailstead(t, prepareLoad(t, "load-one"+suffix, list))
	parted := newMailstead(t, prepareLoad(t, "load-parted"+suffix, list))
	one.name, parted.name, parted.workers = "one process", "parted", config.WorkerPerUID
	all := []*server{one, parted, newDovecot("dovecot", prepareLoad(t, "load-dovecot"+suffix, list), tuned)}
	for _, s := range all {
		s.people = list
	}
	if suffix != "" {
		all = all[1:]
	}
	return all
}

// secure is what clients of load begin TLS with: with a key exchange that both
// servers have.
func secure(cache tls.ClientSessionCache) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example", CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: cache}
}

// TestBenchLoadLogins prints how many logins a second there are, with the same hash
// for each server: the cheapest that is taken.
func TestBenchLoadLogins(t *testing.T) {
	if !chosen(t)("logins") {
		t.Skip("not asked for")
	}
	fmt.Println("| logins a second, 16 clients | one process | parted | dovecot, tuned | parted to dovecot |\n|---|---|---|---|---|")
	for _, kind := range []string{"plain", "TLS", "TLS resumed"} {
		all := loadServers(t, people(loadUsers))
		for _, s := range all {
			if kind != "plain" {
				s.tls = secure(nil)
			}
			s.up(t)
			t.Cleanup(s.down)
		}
		measured := map[string][]float64{}
		for n := range 4 { // the first, in which accounts are opened, does not count
			for _, s := range all {
				settle(t, all)
				if rate := logins(t, s, kind); n > 0 {
					measured[s.name] = append(measured[s.name], rate)
				}
			}
		}
		one, parted, theirs := middle(measured["one process"]), middle(measured["parted"]), middle(measured["dovecot"])
		fmt.Printf("| %s | %.0f | %.0f | %.0f | %.2f |\n", kind, one, parted, theirs, parted/theirs)
		for _, s := range all {
			s.down()
		}
	}
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// logins measures once.
func logins(t testing.TB, s *server, kind string) float64 {
	t.Helper()
	before := bench.CPU(s.daemon.Process.Pid)
	r := loginFlood(s, kind).Run(5 * time.Second)
	cpu := bench.CPU(s.daemon.Process.Pid) - before
	if len(r.Failed) > 0 {
		t.Errorf("%s, %s: %d failed: %v", s.name, kind, len(r.Failed), r.Failed[0])
	}
	t.Logf("%s, %s: %.0f/s, median %s, p99 %s, processor time of the server %s each", kind, s.name, r.PerSec, show(r.P50), show(r.P99),
		show(cpu/time.Duration(max(1, r.Logins))))
	return r.PerSec
}

// loginFlood logs in as one user after another.
func loginFlood(s *server, kind string) *bench.Flood {
	f := &bench.Flood{Address: s.address, Clients: 16, Password: password, User: func(n int) string { return s.people[n%len(s.people)].name }}
	switch kind {
	case "TLS":
		one := secure(nil)
		f.TLS = func(int) *tls.Config { return one }
	case "TLS resumed":
		one := secure(tls.NewLRUClientSessionCache(4))
		f.TLS = func(int) *tls.Config { return one }
	}
	return f
}

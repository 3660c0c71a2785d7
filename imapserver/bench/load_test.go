package bench_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

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

// fresh is Dovecot where each user has a uid: a process that has become one user cannot
// become another.
const fresh = `
service imap-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 4000
}
service imap {
  service_count = 1
}
`

// prepareLoad gives a directory with a Maildir of ten messages for each user.
func prepareLoad(t testing.TB, name string, list []person) string {
	t.Helper()
	return prepareMail(t, name, list, func(int) int { return 10 })
}

// prepareMail gives a directory with a Maildir of so many messages for each user,
// by their place in the list.
func prepareMail(t testing.TB, name string, list []person, messages func(i int) int) string {
	t.Helper()
	dir := filepath.Join(benchDir(), name)
	made(t, dir, func(dir string) {
		corpus := bench.NewCorpus(1)
		for i, p := range list {
			generate(t, corpus, filepath.Join(dir, "homes", p.name, "Maildir"), messages(i))
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
	suffix, theirs := "", tuned
	if list[0].uid != mailUID {
		suffix, theirs = "-uids", fresh
	}
	one := newMailstead(t, prepareLoad(t, "load-one"+suffix, list))
	parted := newMailstead(t, prepareLoad(t, "load-parted"+suffix, list))
	one.name, parted.name, parted.workers = "one process", "parted", config.WorkerPerUID
	all := []*server{one, parted, newDovecot("dovecot", prepareLoad(t, "load-dovecot"+suffix, list), theirs)}
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
				s.tls, s.tickets = secure(nil), kind == "TLS resumed"
			}
			s.up(t)
			t.Cleanup(s.down)
			once(loginFlood(s, kind), 2*loadUsers) // which opens the account of everybody
		}
		measured := map[string][]float64{}
		for range 5 {
			for _, s := range all {
				settle(t, all)
				measured[s.name] = append(measured[s.name], logins(t, s, kind))
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

// TestBenchLoadUIDs prints what a first login costs of a user whose uid has no
// worker yet.
func TestBenchLoadUIDs(t *testing.T) {
	if !chosen(t)("uids") {
		t.Skip("not asked for")
	}
	list := people(loadUsers)
	for i := range list {
		list[i].uid = 100_000 + i
	}
	fmt.Println("| each of 1,000 users has a uid | server | logins a second, first | again | memory of all |\n|---|---|---|---|---|")
	for _, s := range loadServers(t, list) {
		s.up(t)
		t.Cleanup(s.down)
		f := loginFlood(s, "plain")
		start := time.Now()
		first := once(f, len(list))
		took := time.Since(start)
		again := f.Run(5 * time.Second)
		if failed := append(first.Failed, again.Failed...); len(failed) > 0 {
			t.Errorf("%s: %d failed: %v", s.name, len(failed), failed[0])
		}
		fmt.Printf("| | %s | %.0f, p99 %s | %.0f, p99 %s | %d MiB |\n", s.name, float64(first.Logins)/took.Seconds(), show(first.P99), again.PerSec, show(again.P99), memory(t, s)>>10)
		s.down()
	}
}

// once logs in so many times.
func once(f *bench.Flood, n int) bench.Rate {
	left := int64(n)
	return f.While(func() bool { return atomic.AddInt64(&left, -1) >= 0 })
}

// argon is what "mailstead hash-password" makes of a password.
func argon() string {
	salt := []byte("salt of the load")
	key := argon2.IDKey([]byte(password), salt, 2, 19456, 1, 32)
	b := base64.RawStdEncoding
	return "$argon2id$v=19$m=19456,t=2,p=1$" + b.EncodeToString(salt) + "$" + b.EncodeToString(key)
}

// TestBenchLoadHashing prints how many logins with argon2id there are, and how long
// a session waits for the answer of NOOP while ten times as many want to log in.
func TestBenchLoadHashing(t *testing.T) {
	if !chosen(t)("hashing") {
		t.Skip("not asked for")
	}
	fmt.Println("| argon2id | server | logins a second | NOOP at rest: median, p99 | ten times as many: logins a second, told to come back | NOOP beside them: median, p99 |\n|---|---|---|---|---|---|")
	for _, s := range loadServers(t, people(loadUsers)) {
		s.hash = argon()
		s.up(t)
		t.Cleanup(s.down)
		c := s.dial(t, user(1))
		m, p := noops(t, c, 3*time.Second)
		f := loginFlood(s, "plain")
		rate := f.Run(5 * time.Second)
		result := make(chan bench.Rate)
		go func() { result <- crowded(s).Run(8 * time.Second) }()
		time.Sleep(time.Second)
		busy, worst := noops(t, c, 5*time.Second)
		over := <-result
		fmt.Printf("| | %s | %.0f | %s, %s | %.0f, %d | %s, %s |\n", s.name, rate.PerSec, show(m), show(p), over.PerSec, len(over.Failed), show(busy), show(worst))
		c.Close()
		s.down()
	}
}

// crowded is ten times as many clients as keep the processors busy.
func crowded(s *server) *bench.Flood {
	f := loginFlood(s, "plain")
	f.Clients *= 10
	return f
}

// noops asks for nothing a hundred times a second.
func noops(t testing.TB, c *bench.Client, d time.Duration) (middle, p99 time.Duration) {
	t.Helper()
	var took []time.Duration
	for start := time.Now(); time.Since(start) < d; time.Sleep(10 * time.Millisecond) {
		took = append(took, timed(t, func() error { return c.Exec("NOOP", nil) }))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
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

package bench_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver/bench"
	"mailstead/imapserver/config"
)

// The mail of the tests of roles: one user with much, and others with a uid each.
const (
	bulk      = 5000 // messages
	loners    = 50
	firstUID  = 100_000
	relayGoal = 0.8 // of what one process sends
)

// apart is users with a uid each; the first has bulk messages.
func apart() []person {
	var list []person
	for i := range loners {
		list = append(list, person{user(i + 1), firstUID + i})
	}
	return list
}

// rolesMail is how many messages each of them has.
func rolesMail(i int) int {
	if i == 0 {
		return bulk
	}
	return 10
}

// TestBenchRoles prints what it costs that roles are processes of their own: the
// same daemon in one process, and with a process for each role and uid.
func TestBenchRoles(t *testing.T) {
	if !chosen(t)("roles") {
		t.Skip("not asked for")
	}
	one, parted := newMailstead(t, prepareMail(t, "roles-one", people(loners), rolesMail)), newMailstead(t, prepareMail(t, "roles-parted", apart(), rolesMail))
	one.name, one.people = "one process", people(loners)
	parted.name, parted.people, parted.workers = "parted", apart(), config.WorkerPerUID
	both := []*server{one, parted}
	fmt.Println("| the cost of parted roles | one process | parted | of one process | goal |\n|---|---|---|---|---|")
	for _, how := range []string{"in the clear", "under TLS"} {
		for _, s := range both {
			if s.tls = nil; how == "under TLS" {
				s.tls = secure(nil)
			}
			s.up(t)
			t.Cleanup(s.down)
		}
		if how == "in the clear" {
			parted.first(t)
		}
		inTurns(t, both, fmt.Sprintf("FETCH 1:%d BODY[], %s: speed", bulk, how), relayGoal, fetchAll)
		inTurns(t, both, "LOGIN to its answer, "+how+", a worker is there: time", 0, loginAgain)
		for _, s := range both {
			s.down()
		}
	}
}

// first prints what the first login of a uid takes, for which a worker is started,
// and then what each process has.
func (s *server) first(t testing.TB) {
	t.Helper()
	var took []time.Duration
	for _, p := range s.people {
		c, d := loginTime(t, s, p.name)
		defer c.Close()
		took = append(took, d)
	}
	fmt.Printf("| LOGIN to its answer, in the clear, no worker yet: time | | %s | | |\n", show(median(took)))
	rest(t, s)
	all := bench.MemoryByRole(s.daemon.Process.Pid)
	fmt.Printf("| memory (PSS) of each of %d workers with an idle session | | %.1f MiB | | |\n", loners, float64(all["worker"])/loners/1024)
	for _, role := range []string{"login", "serve", "spawn"} {
		fmt.Printf("| memory (PSS) of %s beside them | | %.1f MiB | | |\n", role, float64(all[role])/1024)
	}
}

// inTurns prints a row of what both do, in turns: medians of nine, and how fast
// parted is of one process.
func inTurns(t testing.TB, both []*server, what string, goal float64, run func(testing.TB, *server) time.Duration) {
	t.Helper()
	took := map[string][]time.Duration{}
	for n := range 10 {
		for _, s := range both {
			settle(t, both)
			if d := run(t, s); n > 0 { // the first warms up
				took[s.name] = append(took[s.name], d)
			}
		}
	}
	alone, parted := median(took["one process"]), median(took["parted"])
	ratio, wanted := float64(parted)/float64(alone), ""
	if goal > 0 {
		ratio, wanted = 1/ratio, fmt.Sprintf("%.2f", goal)
	}
	fmt.Printf("| %s | %s | %s | %.2f | %s |\n", what, show(alone), show(parted), ratio, wanted)
}

func fetchAll(t testing.TB, s *server) time.Duration {
	c := s.dial(t, s.people[0].name)
	defer c.Close()
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	return timed(t, func() error { return c.Exec(fmt.Sprintf("FETCH 1:%d BODY.PEEK[]", bulk), nil) })
}

// loginAgain is the median of twenty logins of somebody who is there already.
func loginAgain(t testing.TB, s *server) time.Duration {
	var took []time.Duration
	for range 20 {
		c, d := loginTime(t, s, s.people[1].name)
		c.Close()
		took = append(took, d)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func loginTime(t testing.TB, s *server, user string) (*bench.Client, time.Duration) {
	t.Helper()
	s.dialed++
	c, err := bench.Dial(fmt.Sprintf("127.%d.%d.1", 1+s.dialed/250%250, s.dialed%250), s.address, s.tls)
	if err != nil {
		t.Fatal(err)
	}
	return c, timed(t, func() error { return c.Login(user, password) })
}

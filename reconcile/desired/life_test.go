package desired

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/schema"
)

// simulated is a host that exists only here, with the rows of the true table of
// kinds: what they keep, ensure once, adopt or settle together is as there.
type simulated struct {
	t      *testing.T
	rnd    *rand.Rand
	state  string
	have   map[reconcile.Ref]reconcile.Resource
	ours   map[reconcile.Ref]bool // made or changed by an apply
	table  []reconcile.Kind
	writes int
	kill   int // steps until the process dies; below 0 it does not
}

var errDied = errors.New("killed")

func newSimulated(t *testing.T, rnd *rand.Rand, state string) *simulated {
	s := &simulated{t: t, rnd: rnd, state: state, have: map[reconcile.Ref]reconcile.Resource{}, ours: map[reconcile.Ref]bool{}, kill: -1}
	s.table = new(kind.Host).Table()
	for i := range s.table {
		k := &s.table[i]
		k.Observe = s.observe
		k.Apply = func(_ context.Context, c reconcile.Change) error { return s.apply(*k, c) }
		if k.ApplyAll != nil {
			k.ApplyAll = func(_ context.Context, cs []reconcile.Change) []error {
				errs := make([]error, len(cs))
				for i, c := range cs {
					errs[i] = s.apply(*k, c)
				}
				return errs
			}
		}
		if k.Settle != nil {
			k.Settle = func(_ context.Context, cs []reconcile.Change) []error { s.step(); return make([]error, len(cs)) }
		}
	}
	return s
}

func (s *simulated) step() {
	if s.kill--; s.kill == -1 {
		panic(errDied)
	}
}

func (s *simulated) observe(_ context.Context, asks []reconcile.Ask) []reconcile.Seen {
	out := make([]reconcile.Seen, len(asks))
	for i, a := range asks {
		if r, ok := s.have[a.Ref]; ok {
			r.Attrs = slices.Clone(r.Attrs)
			out[i].Have = &r
		}
	}
	return out
}

func (s *simulated) apply(k reconcile.Kind, c reconcile.Change) error {
	s.step()
	s.writes++
	if c.Want == nil {
		if !s.ours[c.Ref] {
			s.t.Errorf("%s was removed, and nobody here made it", c.Ref)
		}
		if k.Keep {
			s.t.Errorf("%s was removed", c.Ref)
		}
		delete(s.have, c.Ref)
		delete(s.ours, c.Ref)
	} else {
		s.have[c.Ref] = reconcile.Resource{Ref: c.Ref, Attrs: slices.Clone(c.Want.Attrs)}
		s.ours[c.Ref] = true
	}
	s.step()
	return nil
}

// strangers puts things on the host that somebody else made, and that show it
// on disk: what is like ours to the last bit is taken for ours.
func (s *simulated) strangers(list []reconcile.Resource) {
	for _, r := range list {
		i := s.rnd.IntN(4 * len(r.Attrs))
		if i < len(r.Attrs) && !r.Attrs[i].Runs {
			r.Attrs = slices.Clone(r.Attrs)
			r.Attrs[i].Value = "a stranger's"
			s.have[r.Ref] = r
		}
	}
}

func (s *simulated) plan(want []reconcile.Resource) *reconcile.Plan {
	s.t.Helper()
	p, err := reconcile.Compare(s.t.Context(), reconcile.Inputs{Want: want, Table: s.table, State: s.state})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// run applies, and may die on the way. It tells how many steps were made.
func (s *simulated) run(want []reconcile.Resource, kill int) (died bool) {
	s.t.Helper()
	p := s.plan(want)
	s.kill = kill
	defer func() {
		s.kill = -1
		if r := recover(); r == any(errDied) {
			died = true
		} else if r != nil {
			panic(r)
		}
	}()
	r, err := reconcile.Apply(s.t.Context(), p, reconcile.Options{Table: s.table, State: s.state})
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return false
}

// converged checks that the host is what is wanted, and that nothing is left.
func (s *simulated) converged(want []reconcile.Resource) {
	s.t.Helper()
	for _, r := range want {
		have := s.have[r.Ref]
		for _, a := range r.Attrs {
			if r.Blocked == nil && r.Unreadable == "" && r.Ref.Kind != "folder" && have.Get(a.Name) != a.Value && !s.waits(want, r) {
				s.t.Errorf("%s: %s is %q, want %q", r.Ref, a.Name, have.Get(a.Name), a.Value)
			}
		}
	}
	if p := s.plan(want); !p.Empty() || len(p.Notes) > 0 {
		s.t.Errorf("the plan is not empty: %+v", p)
	}
	writes, before := s.writes, s.inventory()
	s.run(want, -1)
	if s.writes != writes || s.inventory() != before {
		s.t.Error("applied again, it writes")
	}
}

// waits tells whether a resource needs one that is blocked, or stays as it is with one.
func (s *simulated) waits(want []reconcile.Resource, r reconcile.Resource) bool {
	return slices.ContainsFunc(want, func(n reconcile.Resource) bool {
		return (slices.Contains(r.Needs, n.Ref) || slices.Contains(r.With, n.Ref)) && (n.Blocked != nil || s.waits(want, n))
	})
}

func (s *simulated) inventory() string {
	data, err := os.ReadFile(filepath.Join(s.state, reconcile.InventoryFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// TestLives takes pairs of random descriptions, applies the first, dies at a
// random step of applying the second, sometimes again at one of mending that,
// and then wants one apply to be enough. MAILSTEAD_LIVES is how many pairs.
func TestLives(t *testing.T) {
	pairs, _ := strconv.Atoi(os.Getenv("MAILSTEAD_LIVES"))
	if pairs == 0 {
		pairs = 150
		if testing.Short() {
			pairs = 30
		}
	}
	base, err := os.MkdirTemp("/dev/shm", "mailstead-test")
	if err != nil {
		base = t.TempDir()
	}
	defer os.RemoveAll(base)
	died, ended := 0, 0
	for seed := range pairs {
		rnd := rand.New(rand.NewPCG(uint64(seed), 11))
		s := newSimulated(t, rnd, filepath.Join(base, fmt.Sprint(seed)))
		first, second := describeHost(t, rnd), describeHost(t, rnd)
		s.strangers(second)
		s.run(first, -1)
		for range 1 + rnd.IntN(2) {
			if s.run(second, rnd.IntN(60)) {
				died++
			}
		}
		if rnd.IntN(8) == 0 {
			second = describeHost(t, rnd) // the description is edited after the crash
		}
		s.run(second, -1)
		s.converged(second)
		if t.Failed() {
			t.Fatalf("pair %d", seed)
		}
		ended++
		os.RemoveAll(s.state)
	}
	t.Logf("%d pairs, killed %d times", ended, died)
	if died < pairs/2 {
		t.Errorf("only %d of %d pairs were interrupted", died, pairs)
	}
}

// describeHost makes a random description, and the list of it on a host whose
// certificates are there or not.
func describeHost(t *testing.T, rnd *rand.Rand) []reconcile.Resource {
	t.Helper()
	for range 100 {
		h, f := randomHost(rnd)
		if list, err := Build(h, f, Options{}); err == nil {
			return list
		}
	}
	t.Fatal("no random description can be built")
	return nil
}

// randomHost has out of few names and values, so that descriptions overlap.
func randomHost(rnd *rand.Rand) (*schema.Host, reconcile.Facts) {
	h := goodHost()
	h.Listeners, h.TLS.Certificates, h.Users = nil, nil, nil
	f := reconcile.Facts{Systemd: 252 + 5*rnd.IntN(2), Root: true, PAMHelper: true, FreeIDs: []int{999, 998, 994, 993},
		Accounts: map[string]reconcile.Account{}, Certificates: map[string]reconcile.Certificate{}}
	maybe := func() bool { return rnd.IntN(2) == 0 }
	pick := func(values ...string) string { return values[rnd.IntN(len(values))] }
	for i, name := range []string{"backup", "imap", "imaps"} {
		if i == 1 || maybe() {
			h.Listeners = append(h.Listeners, schema.Listener{Name: name, Address: pick("", "127.0.0.1"), Port: 143 + 1000*rnd.IntN(2) + i, TLS: schema.STARTTLS})
		}
	}
	for i, name := range []string{"a.example", "b.example", "c.example"} {
		if i > 0 && maybe() {
			continue
		}
		c := schema.Certificate{Name: name, Names: []string{name}}
		if maybe() {
			c.Names = append(c.Names, "imap."+name)
		}
		if c.Certbot = (&schema.Certbot{Lineage: name}); maybe() {
			c.Certbot, c.SelfSigned = nil, &schema.SelfSigned{Days: 90}
		}
		if maybe() {
			c.Stitched = pick("/etc/ssl/x/"+name+".pem", "/etc/ssl/"+name+".pem")
		}
		f.Certificates[name] = reconcile.Certificate{Fingerprint: pick("aa", "bb"), Chain: "cc"}
		if rnd.IntN(4) == 0 && c.Certbot != nil {
			f.Certificates[name] = reconcile.Certificate{Missing: "there is none", Command: "certbot"}
		}
		h.TLS.Certificates = append(h.TLS.Certificates, c)
	}
	h.TLS.Default = h.TLS.Certificates[rnd.IntN(len(h.TLS.Certificates))].Name
	h.Namespace, h.TLS.Policy = pick("", "INBOX."), pick("modern", "intermediate")
	h.Mail.Root = pick("/var/vmail", "/srv/mail")
	randomUsers(rnd, h, f)
	return h, f
}

func randomUsers(rnd *rand.Rand, h *schema.Host, f reconcile.Facts) {
	system := rnd.IntN(2)
	for i := range 5 {
		if rnd.IntN(3) == 0 {
			continue
		}
		u := schema.User{Name: fmt.Sprint("user", i), Maildir: []string{"Maildir", "Mail"}[rnd.IntN(2)]}
		if u.System = (&schema.SystemUser{}); i%2 < system {
			f.Accounts[u.Name] = reconcile.Account{UID: 1000 + i, GID: 1000 + i, Home: "/home/" + u.Name, Group: u.Name}
		} else {
			u.System, u.Virtual = nil, &schema.VirtualUser{PasswordHash: schema.Secret(fmt.Sprint("$y$j9T$c2FsdA$aGFzaA", rnd.IntN(2)))}
			u.Maildir = filepath.Join(h.Mail.Root, u.Name, u.Maildir)
		}
		for _, name := range []string{"Archive", "Sent", "Trash"} {
			if rnd.IntN(2) == 0 {
				u.Folders = append(u.Folders, schema.Folder{Name: name, Use: []string{"", "sent", "junk"}[rnd.IntN(3)], Subscribed: rnd.IntN(2) == 0})
			}
		}
		h.Users = append(h.Users, u)
	}
}

// TestOnlyCertificateRenamed: while the certificate by its new name has yet to be issued,
// the daemon keeps all that it serves by, also for its next start.
func TestOnlyCertificateRenamed(t *testing.T) {
	sc, host := archive(t, "example-single")
	s := newSimulated(t, rand.New(rand.NewPCG(1, 1)), t.TempDir())
	build := func(name string, c reconcile.Certificate) []reconcile.Resource {
		t.Helper()
		host.TLS.Certificates[0].Name, host.TLS.Default = name, name
		sc.Facts.Certificates = map[string]reconcile.Certificate{name: c}
		list, err := Build(host, sc.Facts, sc.Options)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	missing := reconcile.Certificate{Missing: "it is not issued"}

	// With nothing to keep, the files are written before there is a certificate.
	first := build("old.example", missing)
	s.run(first, -1)
	config := reconcile.Ref{Kind: "daemon-config", Name: "/var/lib/mailstead/config.json"}
	if _, ok := s.have[config]; !ok {
		t.Fatalf("no %s", config)
	}
	s.run(build("old.example", reconcile.Certificate{Fingerprint: "aa", Chain: "cc"}), -1)

	host.Users[0].Expunge = schema.ToTrash
	p := s.plan(build("new.example", missing))
	for _, c := range p.Changes {
		t.Errorf("%s %s: %s", c.Op, c.Ref, c.Reason)
	}
	waits := map[string]string{}
	for _, w := range p.Blocked {
		waits[w.Ref.String()] = w.Reason
	}
	for ref, want := range map[string]string{
		config.String(): "waits for unit/mailstead-imapd.service",
		"password-file//var/lib/mailstead/users.ndjson": "waits for unit/mailstead-imapd.service",
		"certificate/old.example":                       "no longer in the description, and stays until there is certificate/new.example",
		"certificate/new.example":                       "it is not issued",
	} {
		if waits[ref] != want {
			t.Errorf("%s: %q, want %q", ref, waits[ref], want)
		}
	}

	// It is issued: everything follows.
	last := build("new.example", reconcile.Certificate{Fingerprint: "bb", Chain: "dd"})
	s.run(last, -1)
	s.converged(last)
	if _, ok := s.have[kind.CertificateRef("old.example")]; ok {
		t.Error("the old certificate is still there")
	}
}

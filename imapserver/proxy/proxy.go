package proxy

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/wire"
)

// Proxy is the listeners of a process that stand in front of other servers. Its
// methods may be called from many goroutines.
type Proxy struct {
	log  *slog.Logger
	dial Dial
	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu      sync.Mutex
	started bool
	fronts  map[string]*front // by listener
	logins  map[string]*login // by connection
}

// login is one whose session has not begun yet.
type login struct {
	front *front
	link  *link
}

// end lets go of a login whose session will not begin.
func (l *login) end() {
	l.link.quit()
	l.front.pool.done(l.link)
}

// front is one listener.
type front struct {
	name  string
	log   *slog.Logger
	ctx   context.Context
	pool  *pool
	rules atomic.Pointer[rules]
	count counters

	mu       sync.Mutex
	sessions map[*session]bool
}

// rules is what Update replaces as one.
type rules struct {
	servers []*server
	users   map[string]int
	names   config.Names // of users
	refer   bool
	limits  limit.Set
	webmail []netip.Prefix
	off     []string        // capabilities that are not offered
	barred  map[string]bool // the names of their commands
}

// counters count since the process has begun.
type counters struct{ logins, reused, refused, failed, stale, kept atomic.Uint64 }

// New makes a Proxy that has no listener before Prepare.
func New(log *slog.Logger, dial Dial) *Proxy {
	p := &Proxy{log: log, dial: dial, fronts: map[string]*front{}, logins: map[string]*login{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Prepare makes ready to go over to a configuration: what could fail, and commit.
// Sessions stay, but for those of users whose mail is somewhere else from then on, and
// so do links that are kept to servers that stay.
func (p *Proxy) Prepare(c *config.Config) (commit func(), err error) {
	next := map[string]*rules{}
	for _, l := range c.Listeners {
		if l.Proxy == nil {
			continue
		}
		r := &rules{users: l.Proxy.Users, refer: l.Proxy.Refer, limits: limit.Default().With(c.Limits), barred: map[string]bool{}}
		for user := range r.users {
			r.names.Add(user)
		}
		if err := r.bar(l.Off); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		if r.webmail, err = config.ParseNets(l.Proxy.Webmail); err != nil {
			return nil, fmt.Errorf("listener %s: webmail: %w", l.Name, err)
		}
		for _, each := range l.Proxy.Servers {
			s, err := newServer(each, l, p.dial)
			if err != nil {
				return nil, fmt.Errorf("listener %s: %w", l.Name, err)
			}
			r.servers = append(r.servers, s)
		}
		next[l.Name] = r
	}
	return func() { p.commit(next) }, nil
}

// bar switches capabilities off, with those that need them.
func (r *rules) bar(names []string) error {
	off, err := wire.Off(names...)
	if err != nil {
		return err
	}
	for _, c := range off {
		r.off = append(r.off, numberless(string(c)))
	}
	for _, row := range wire.Commands {
		r.barred[row.Name] = slices.Contains(off, row.Cap)
	}
	threads := slices.ContainsFunc(wire.Capabilities, func(row wire.CapabilityRow) bool {
		return strings.HasPrefix(string(row.Name), "THREAD=") && !slices.Contains(off, row.Name)
	})
	r.barred["THREAD"], r.barred["UID THREAD"] = !threads, !threads
	return nil
}

func (p *Proxy) commit(next map[string]*rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, r := range next {
		f := p.fronts[name]
		if f == nil {
			f = &front{name: name, log: p.log, ctx: p.ctx, pool: newPool(r.limits.Proxy), sessions: map[*session]bool{}}
			p.fronts[name] = f
		}
		f.goOver(r)
		if p.started {
			f.meetAll()
		}
	}
	for name, f := range p.fronts {
		if next[name] == nil {
			f.goOver(&rules{limits: limit.Default()})
			delete(p.fronts, name)
		}
	}
}

// goOver puts rules in force.
func (f *front) goOver(r *rules) {
	if old := f.rules.Load(); old != nil {
		for i, s := range r.servers {
			if j := slices.IndexFunc(old.servers, s.same); j >= 0 {
				r.servers[i] = old.servers[j]
			}
		}
	}
	f.rules.Store(r)
	f.pool.limit(r.limits.Proxy, r.reuses)
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sessions {
		if r.route(s.link.user) != s.link.server {
			go s.part(movedText) // a client that takes nothing may hold it up
		}
	}
}

// movedText is what the client of a user hears whose mail is somewhere else by now.
const movedText = "Your mail is on another server now."

// Start begins to ask servers what they offer. Nobody is asked anything before.
func (p *Proxy) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	for _, f := range p.fronts {
		f.meetAll()
	}
}

func (f *front) meetAll() {
	for _, s := range f.rules.Load().servers {
		if s.offer.Load() == nil && s.asked.CompareAndSwap(false, true) {
			go f.meet(s)
		}
	}
}

// meant gives the name of the user whom a client means, as the configuration has it.
func (r *rules) meant(name string) string {
	is := func(user string) bool { _, ok := r.users[user]; return ok }
	if user, master, ok := config.CutMaster(name); ok {
		return r.names.Meant(user, is) + config.MasterMark + master
	}
	return r.names.Meant(name, is)
}

// route gives the server that has the mail of a user, or nil.
func (r *rules) route(name string) *server {
	i, known := 0, r.users == nil
	if !known {
		user, _, _ := config.CutMaster(name)
		i, known = r.users[user]
	}
	if !known || i >= len(r.servers) {
		return nil
	}
	return r.servers[i]
}

// reuses tells whether a link may serve its user once more.
func (r *rules) reuses(l *link) bool { return !r.refer && r.route(l.user) == l.server }

// refuser gives a server that refuses whoever has none, so that neither when they are
// refused nor how tells who is known.
func (r *rules) refuser(name string) *server {
	if len(r.servers) == 0 {
		return nil
	}
	return r.servers[crc32.ChecksumIEEE([]byte(name))%uint32(len(r.servers))]
}

func (f *front) route(name string) *server { return f.rules.Load().route(name) }

func (f *front) limits() limit.Proxy { return f.rules.Load().limits.Proxy }

// patience is how long one side may take nothing of what it is sent.
func (f *front) patience() time.Duration { return f.rules.Load().limits.Login.Stall }

func (f *front) keeps() bool {
	l := f.limits()
	return l.Kept > 0 && l.KeptPerUser > 0
}

// meet asks a server what it offers, until it has said so once.
func (f *front) meet(s *server) {
	for pause := time.Second; f.ctx.Err() == nil && s.offer.Load() == nil; pause = min(2*pause, time.Minute) {
		ctx, cancel := context.WithTimeout(f.ctx, f.limits().Patience)
		l, err := s.connect(ctx)
		cancel()
		if err == nil {
			l.quit()
			return
		}
		if !slices.Contains(f.rules.Load().servers, s) {
			return
		}
		f.log.Warn("server behind the proxy does not answer", "listener", f.name, "err", err)
		select {
		case <-time.After(pause):
		case <-f.ctx.Done():
		}
	}
}

func (p *Proxy) front(listener string) *front {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fronts[listener]
}

// Has says whether a listener is a proxy.
func (p *Proxy) Has(listener string) bool { return p.front(listener) != nil }

// Offer is what a listener's servers say of themselves before a login, as far as all
// of them do; nil is none of a proxy's.
func (p *Proxy) Offer(listener string) *handoff.Offer {
	f := p.front(listener)
	if f == nil {
		return nil
	}
	r := f.rules.Load()
	all := &handoff.Offer{Text: "Ready.", Capabilities: []string{"IMAP4rev1"}}
	met := 0
	for _, s := range r.servers {
		o := s.offer.Load()
		if o == nil {
			continue
		}
		if met++; met == 1 {
			all = &handoff.Offer{Text: o.Text, Capabilities: shown(o.Capabilities, r.off)}
			continue
		}
		all.Text = "Ready."
		all.Capabilities = slices.DeleteFunc(all.Capabilities, func(c string) bool { return !contains(o.Capabilities, c) })
	}
	if r.refer && !contains(all.Capabilities, "LOGIN-REFERRALS") {
		all.Capabilities = append(all.Capabilities, "LOGIN-REFERRALS")
	}
	return all
}

// known says whether all servers have said what they offer.
func (f *front) known() bool {
	return !slices.ContainsFunc(f.rules.Load().servers, func(s *server) bool { return s.offer.Load() == nil })
}

// Shared says whether many users come from an address: what one of them does says
// nothing of the others.
func (p *Proxy) Shared(listener string, remote netip.Addr) bool {
	f := p.front(listener)
	return f != nil && f.rules.Load().shared(remote)
}

func (r *rules) shared(remote netip.Addr) bool {
	return slices.ContainsFunc(r.webmail, func(n netip.Prefix) bool { return n.Contains(remote.Unmap()) })
}

// Server is auth's Remote: it names the server that Check asks.
func (p *Proxy) Server(c *handoff.Credentials) string {
	if f := p.front(c.Listener); f != nil {
		r := f.rules.Load()
		if s, _ := r.asked(r.meant(c.User)); s != nil {
			return s.Address()
		}
	}
	return ""
}

// asked gives the server that is asked whether a login is good, and whether it may say so.
func (r *rules) asked(name string) (s *server, may bool) {
	if s = r.route(name); s != nil {
		return s, true
	}
	return r.refuser(name), false
}

// Check is auth's Remote: it has the user's server look at credentials, or finds a
// link that was kept and that they are good for. Begin then has what was made.
func (p *Proxy) Check(ctx context.Context, c *handoff.Credentials) (handoff.Verdict, error) {
	f := p.front(c.Listener)
	if f == nil {
		return handoff.Verdict{}, errors.New("the listener is not in the configuration any more")
	}
	r := f.rules.Load()
	meant := *c
	meant.User = r.meant(c.User)
	c = &meant
	s, may := r.asked(c.User)
	if s == nil {
		return handoff.Verdict{Code: failed, Text: failedText}, nil
	}
	f.count.logins.Add(1)
	d := f.pool.digest(c.User, c.Password)
	if may {
		if l := f.reuse(ctx, c, s, d); l != nil {
			p.hold(c.ID, f, l)
			return handoff.Verdict{User: c.User}, nil
		}
	}
	l, a, err := s.login(ctx, c, r)
	switch {
	case err != nil:
		f.count.failed.Add(1)
		return handoff.Verdict{}, err
	case l == nil:
		f.count.refused.Add(1)
		return refusal(a), nil
	case !may:
		l.quit()
		f.count.refused.Add(1)
		return handoff.Verdict{Code: failed, Text: failedText}, nil
	case r.refer:
		l.quit()
		return handoff.Verdict{Elsewhere: s.url(c.User), Text: "Your mail is on another server."}, nil
	}
	l.digest = d
	f.pool.born(l)
	p.hold(c.ID, f, l)
	return handoff.Verdict{User: c.User}, nil
}

// reuse finds a link that was kept and is alive. It waits for one that is not, and not
// for its likes too.
func (f *front) reuse(ctx context.Context, c *handoff.Credentials, s *server, d digest) *link {
	for !s.mute.Load() {
		l := f.pool.take(c.User, d, time.Now())
		if l == nil {
			return nil
		}
		err := errors.New("of another server")
		if l.server == s {
			err = l.awake(ctx, c, f.rules.Load())
		}
		if err == nil {
			f.count.reused.Add(1)
			return l
		}
		f.count.stale.Add(1)
		l.nc.Close()
		f.pool.done(l)
		if isTimeout(err) {
			break
		}
	}
	return nil
}

// What a client is told whose login is not good.
const failed, failedText = "AUTHENTICATIONFAILED", "Authentication failed."

// refusal is what a client is told of a server's NO or BAD.
func refusal(a answer) handoff.Verdict {
	word, rest, _ := strings.Cut(a.code, " ")
	v := handoff.Verdict{Code: strings.ToUpper(word), Text: a.text}
	switch {
	case len(a.code) > maxText:
		v.Code = failed
	case v.Code == "REFERRAL":
		return handoff.Verdict{Elsewhere: rest, Text: a.text}
	case v.Code == "" || v.Code == "ALERT":
		v.Code = failed
	}
	if a.status != "NO" || v.Text == "" {
		v.Text = failedText
	}
	return v
}

// beginWithin is how long a login may take from Check to Begin.
const beginWithin = 30 * time.Second

// hold has a link wait for its session to begin. A connection may log in again whose
// session was refused, so that the link of its last login waits for nothing.
func (p *Proxy) hold(id string, f *front, l *link) {
	if old := p.claim(id, nil); old != nil {
		old.end()
	}
	mine := &login{f, l}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins[id] = mine
	time.AfterFunc(beginWithin, func() {
		if p.claim(id, mine) != nil {
			mine.end()
		}
	})
}

// claim gives the login of a connection; only that one, unless it is nil.
func (p *Proxy) claim(id string, only *login) *login {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.logins[id]
	if l == nil || only != nil && l != only {
		return nil
	}
	delete(p.logins, id)
	return l
}

// Begin is handoff.Host's.
func (p *Proxy) Begin(o *handoff.Open) (serve func(*handoff.Client), err error) {
	l := p.claim(o.ID, nil)
	if l == nil {
		return nil, errors.New("nobody has logged in at a server for it")
	}
	return func(c *handoff.Client) { l.front.serve(c, l.link, o.Tag) }, nil
}

// serve runs a session and keeps its link, if it may be.
func (f *front) serve(c *handoff.Client, l *link, tag string) {
	s := newSession(f, l, c, tag)
	f.mu.Lock()
	f.sessions[s] = true
	f.mu.Unlock()
	if f.route(l.user) != l.server { // since the login
		s.part(movedText)
	}
	defer context.AfterFunc(f.ctx, func() { s.part("The server is shutting down.") })()
	clean := s.serve()
	f.mu.Lock()
	delete(f.sessions, s)
	f.mu.Unlock()
	switch {
	case !clean:
		f.pool.done(l)
	case !f.rules.Load().reuses(l):
		f.pool.done(l)
		l.quit()
	case f.pool.keep(l, time.Now()):
		f.count.kept.Add(1)
	default:
		l.quit()
	}
}

// Status tells how the listeners do, in the order of their names.
func (p *Proxy) Status() []control.Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []control.Proxy
	for name, f := range p.fronts {
		all = append(all, control.Proxy{
			Listener: name, Known: f.known(), Idle: f.pool.kept(),
			Logins: f.count.logins.Load(), Reused: f.count.reused.Load(), Refused: f.count.refused.Load(),
			Failed: f.count.failed.Load(), Stale: f.count.stale.Load(), Kept: f.count.kept.Load(),
		})
	}
	slices.SortFunc(all, func(a, b control.Proxy) int { return strings.Compare(a.Listener, b.Listener) })
	return all
}

// Close ends the sessions, and lets go of all links.
func (p *Proxy) Close() {
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.fronts {
		f.pool.close()
	}
}

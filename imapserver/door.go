package imapserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
)

// The bounds of what auth does for one login.
const (
	helloTimeout  = 5 * time.Second  // from a connection to its first message
	doorTimeout   = 10 * time.Second // for an answer of a login
	maxClientName = 64               // octets of what a client says of itself
	minTasks      = 2048             // that may run at once, however few connections may wait
	maxState      = 64 << 20         // octets of a State: 100,000 sessions
	minWorkers    = 64               // more are looked through for those that are no more
	maxServed     = 4 << 20          // of one without users and sessions: some thousand bundles
	maxChannels   = 8                // of one process, which needs one, and another after a fault
)

// channels counts those of each process: one that was taken over, and cannot become
// several, has no more of auth's memory than maxChannels need.
type channels struct {
	mu sync.Mutex
	of map[int]int // by process
}

// enter tells whether there may be one more.
func (c *channels) enter(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pid == 0 { // it is not known
		return true
	}
	if c.of == nil {
		c.of = map[int]int{}
	}
	if c.of[pid] == maxChannels {
		return false
	}
	c.of[pid]++
	return true
}

func (c *channels) leave(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[pid]--; c.of[pid] <= 0 {
		delete(c.of, pid)
	}
}

// door is auth's end of a login process. What a login says is taken for what
// somebody may say who has taken it over: it gets a verdict on what its clients
// present, sessions for tickets, connections to the servers that its listener stands in
// front of, and nothing else.
type door struct {
	*handoff.Conn
	parted  *Parted
	hello   *handoff.Hello
	named   string           // the listener as it has said; hello has the one that it is
	at      []netip.AddrPort // where it listens
	answers calls
	tickets tickets

	ctx    context.Context // ends with the login
	cancel context.CancelFunc

	mu       sync.Mutex
	workers  map[uint64]bool               // that have had sessions of it, and some that are no more
	alive    int                           // of them, when that was last looked at
	connects map[uint64]context.CancelFunc // that it waits for, by their numbers
}

// tasks run aside, so many at once as most says.
type tasks struct {
	sync.WaitGroup
	most func() int

	mu      sync.Mutex
	running int
	fewer   sync.Cond
}

func newTasks(most func() int) *tasks {
	t := &tasks{most: most}
	t.fewer.L = &t.mu
	return t
}

func (t *tasks) run(f func()) {
	t.mu.Lock()
	for t.running >= t.most() {
		t.fewer.Wait()
	}
	t.running++
	t.mu.Unlock()
	t.Go(func() {
		defer t.done()
		f()
	})
}

func (t *tasks) done() {
	t.mu.Lock()
	t.running--
	t.mu.Unlock()
	t.fewer.Signal()
}

// maxTasks is twice the connections that may be without a login: what was asked for one
// that is gone by now may go on for as long as another takes.
func (d *door) maxTasks() int { return max(minTasks, 2*d.parted.settings.Load().limits.Full) }

// meet takes the first message of a login.
func meet(p *Parted, c *handoff.Conn) (*door, error) {
	late := time.AfterFunc(helloTimeout, func() { c.Close() })
	defer late.Stop()
	m, err := c.Receive()
	if err != nil {
		return nil, err
	}
	hello, ok := m.(*handoff.Hello)
	if !ok {
		return nil, fmt.Errorf("%T before Hello", m)
	}
	d := &door{Conn: c, parted: p, hello: hello, named: hello.Listener, workers: map[uint64]bool{}, connects: map[uint64]context.CancelFunc{}}
	for _, f := range hello.Sockets {
		if at, ok := handoff.Listening(f); ok {
			d.at = append(d.at, at)
		}
	}
	if hello.Listener = p.settings.Load().servedAs(d.named, d.at); hello.Listener != d.named {
		p.log.Error("login has not the sockets of the listener that it names", "listener", d.named, "addresses", fmt.Sprint(d.at))
	}
	d.ctx, d.cancel = context.WithCancel(p.ctx)
	return d, nil
}

// Send is handoff.Conn's. One that does not take what it is sent is let go of: all who
// have something for it would wait for that long, one after the other.
func (d *door) Send(m handoff.Message) error {
	err := d.Conn.Send(m)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.Close()
	}
	return err
}

// moved tells whether a login is of another listener by s than it was when it came.
func (d *door) moved(s *Settings) bool { return s.servedAs(d.named, d.at) != d.hello.Listener }

// listen serves the login until it is gone.
func (d *door) listen() error {
	defer d.cancel()
	defer d.answers.close()
	tasks := newTasks(d.maxTasks)
	defer tasks.Wait()
	defer d.cancel()
	for {
		m, err := d.Receive()
		if err != nil {
			return err
		}
		if err := d.take(m, tasks); err != nil {
			return err
		}
	}
}

// take deals with one message; what may take time does so aside.
func (d *door) take(m handoff.Message, tasks *tasks) error {
	switch m := m.(type) {
	case *handoff.Ask:
		tasks.run(func() { d.ask(m) })
	case *handoff.Claim:
		tasks.run(func() { d.claim(m) })
	case *handoff.Connect:
		return d.connect(m, tasks)
	case *handoff.Abort:
		d.abort(m.Serial)
	case *handoff.Hangs:
		d.hangs(m.Worker)
	case *handoff.Told:
		d.parted.heard.hear(m.Data, func(string) bool { return false })
	case *handoff.Ready:
		d.answers.answer(m.Serial, m)
	case *handoff.State:
		d.answers.answer(m.Serial, m)
	default:
		return fmt.Errorf("unexpected %T", m)
	}
	return nil
}

// ask has auth look at credentials. Which listener they came in by is the
// login's, whatever it says.
func (d *door) ask(m *handoff.Ask) {
	ctx, cancel := context.WithTimeout(d.ctx, d.parted.settings.Load().limits.Lifetime) // nobody waits longer
	defer cancel()
	m.Credentials.Listener = d.hello.Listener
	v := d.parted.auth.Authenticate(ctx, &m.Credentials)
	if v.User != "" {
		var err error
		if v.Ticket, err = d.tickets.issue(v.User, &m.Credentials, time.Now()); err != nil {
			d.parted.log.Error("login given up", "listener", d.hello.Listener, "user", v.User, "err", err)
			v = unavailable
		}
	}
	d.Send(&handoff.Answer{Serial: m.Serial, Verdict: v}) // or the login is gone, which Receive sees
}

// unavailable is the verdict where there is nobody to give one.
var unavailable = handoff.Verdict{Code: "UNAVAILABLE", Text: "Temporary failure. Try again later."}

// scrapes gives whoever serves the metrics what there is of them, for as long as they
// ask for nothing else.
func (d *door) scrapes() {
	defer d.cancel()
	for {
		m, err := d.Receive()
		s, ok := m.(*handoff.Scrape)
		if err != nil || !ok {
			return
		}
		ctx, cancel := context.WithTimeout(d.ctx, doorTimeout)
		data, err := json.Marshal(d.parted.metrics(ctx))
		cancel()
		d.Send(&handoff.State{Serial: s.Serial, Error: text(err), Data: data})
	}
}

// claim begins the session that a ticket is for.
func (d *door) claim(m *handoff.Claim) {
	defer m.Stream.Close()
	worker, err := d.open(m)
	if err == nil {
		d.mu.Lock()
		d.workers[worker] = true
		if len(d.workers) > max(2*d.alive, minWorkers) {
			tell := d.parted.heard.numbers()
			maps.DeleteFunc(d.workers, func(w uint64, _ bool) bool { return !tell[w] })
			d.alive = len(d.workers)
		}
		d.mu.Unlock()
	}
	d.Send(&handoff.Opened{Serial: m.Serial, Worker: worker, Error: text(err)})
}

func (d *door) open(m *handoff.Claim) (worker uint64, err error) {
	g, err := d.tickets.claim(m.Ticket, time.Now())
	if err != nil {
		d.parted.log.Error("login claims a session that it has no ticket for", "listener", d.hello.Listener)
		return 0, err
	}
	return d.parted.open(d.ctx, &handoff.Open{
		ID: g.id, User: g.user, Listener: d.hello.Listener, Remote: g.remote, TLS: g.tls,
		Tag: m.Tag, Client: m.Client[:min(len(m.Client), maxClientName)], Token: m.Token, Stream: m.Stream,
	})
}

// hangs has a worker killed that the login has given sessions to.
func (d *door) hangs(worker uint64) {
	d.mu.Lock()
	known := d.workers[worker]
	delete(d.workers, worker)
	d.mu.Unlock()
	if known {
		d.parted.spawn.tell(&handoff.Hangs{Worker: worker})
	}
}

// text is an error as messages have it.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// call asks the login something that it answers with Ready.
func (d *door) call(ctx context.Context, send func(serial uint64) handoff.Message) error {
	ctx, cancel := context.WithTimeout(ctx, doorTimeout)
	defer cancel()
	m, err := d.answers.call(ctx, func(serial uint64) error { return d.Send(send(serial)) })
	if err != nil {
		return fmt.Errorf("listener %s: %w", d.hello.Listener, err)
	}
	ready, ok := m.(*handoff.Ready)
	if !ok {
		return fmt.Errorf("listener %s: the login gave another answer than asked for", d.hello.Listener)
	}
	if ready.Error != "" {
		return errors.New(ready.Error)
	}
	return nil
}

// prepare has the login make ready to go over to settings.
func (d *door) prepare(ctx context.Context, s *Settings) error {
	data, err := s.forLogin(d.hello.Listener, d.parted.auth.Mechanisms(d.hello.Listener), d.parted.auth.Common("boards"))
	if err != nil {
		return err
	}
	return d.call(ctx, func(serial uint64) handoff.Message { return &handoff.Settings{Serial: serial, Data: data} })
}

// offer has it offer the mechanisms that there are.
func (d *door) offer() error {
	return d.Send(&handoff.Mechanisms{Names: d.parted.auth.Mechanisms(d.hello.Listener)})
}

// commit has it go over, or stay with what it has.
func (d *door) commit(ctx context.Context, drop bool) error {
	return d.call(ctx, func(serial uint64) handoff.Message { return &handoff.Commit{Serial: serial, Drop: drop} })
}

// loginState is the payload of State.
type loginState struct {
	Bundles []control.Bundle `json:"bundles"`
	Proxies []control.Proxy  `json:"proxies,omitempty"`

	Users     []string             `json:"users,omitempty"`     // with sessions, if that was asked for
	Connected []control.Connection `json:"connected,omitempty"` // if that was asked for
}

// query asks the login how it does.
func (d *door) query(ctx context.Context, q *handoff.Query) (sessions int, state loginState, err error) {
	ctx, cancel := context.WithTimeout(ctx, doorTimeout)
	defer cancel()
	m, err := d.answers.call(ctx, func(serial uint64) error {
		asked := *q
		asked.Serial = serial
		return d.Send(&asked)
	})
	if err != nil {
		return 0, state, fmt.Errorf("listener %s: %w", d.hello.Listener, err)
	}
	answer, ok := m.(*handoff.State)
	if !ok {
		return 0, state, fmt.Errorf("listener %s: the login gave another answer than asked for", d.hello.Listener)
	}
	if state, err = d.parted.settings.Load().said(q, answer.Data); err != nil {
		return 0, state, fmt.Errorf("listener %s: state: %w", d.hello.Listener, err)
	}
	if answer.Error != "" {
		err = fmt.Errorf("listener %s: %s", d.hello.Listener, answer.Error)
	}
	return answer.Sessions[d.hello.Listener], state, err
}

// said reads of a login's state what was asked for, as much as there may be of it: some
// octets of JSON may stand for hundreds in memory.
func (s *Settings) said(q *handoff.Query, data []byte) (state loginState, err error) {
	var lists struct {
		Bundles, Proxies, Users, Connected json.RawMessage
	}
	if err := json.Unmarshal(data, &lists); err != nil {
		return state, err
	}
	most := max(s.limits.Sessions, limit.Default().Login.Sessions)
	switch {
	case q.Users:
		state.Users, err = list(lists.Users, most, func(user *string) bool { return *user != "" })
	case q.Sessions:
		state.Connected, err = list(lists.Connected, most, func(c *control.Connection) bool {
			c.Doing = nil // which is for its worker to say
			return c.ID != ""
		})
	case len(data) > maxServed:
		err = fmt.Errorf("%d octets of what it serves, more than %d", len(data), maxServed)
	default:
		var more error
		state.Bundles, err = list(lists.Bundles, most, func(b *control.Bundle) bool { return b.Name != "" })
		state.Proxies, more = list(lists.Proxies, most, func(p *control.Proxy) bool { return p.Listener != "" })
		err = errors.Join(err, more)
	}
	return state, err
}

// list reads a list of JSON, of most entries at most, each of which is sound.
func list[V any](data json.RawMessage, most int, sound func(*V) bool) (all []V, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if begin, _ := d.Token(); begin != json.Delim('[') {
		return nil, nil // it is not there
	}
	for d.More() {
		var v V
		switch err := d.Decode(&v); {
		case err != nil:
			return nil, err
		case len(all) == most || !sound(&v):
			return nil, fmt.Errorf("entry %d of a list: unsound, or more than %d", len(all)+1, most)
		}
		all = append(all, v)
	}
	return all, nil
}

// endUsers has the login end the sessions of those who may not have any.
func (d *door) endUsers(ctx context.Context, may func(user string) bool) error {
	_, state, err := d.query(ctx, &handoff.Query{Users: true})
	if err != nil {
		return err
	}
	var gone []string
	for _, user := range state.Users {
		if !may(user) {
			gone = append(gone, user)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	data, err := json.Marshal(gone)
	if err != nil {
		return err
	}
	return d.Send(&handoff.End{Data: data})
}

package proxy

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"mailstead/imapserver/limit"
)

// pool is the links of users who have logged out. Each is of one user and of the
// password that the server has found good: only whoever presents the same gets it,
// and a link is given to one at a time.
type pool struct {
	key [32]byte // of the digests: they say nothing outside of this process

	mu     sync.Mutex
	limits limit.Proxy
	users  map[string]*account
	order  list.List // of *link, kept the longest ago first
	at     map[*link]*list.Element
	closed bool
}

// account is a user of whom there are links.
type account struct {
	digest digest // of the password that was good last
	kept   []*link
	out    int // links in sessions
}

func newPool(l limit.Proxy) *pool {
	p := &pool{limits: l, users: map[string]*account{}, at: map[*link]*list.Element{}}
	rand.Read(p.key[:])
	return p
}

// digest is of a user with a password; names have no NUL in them.
func (p *pool) digest(user, password string) (d digest) {
	m := hmac.New(sha256.New, p.key[:])
	m.Write([]byte(user + "\x00" + password))
	m.Sum(d[:0])
	return d
}

// take gives a link that was kept, or nil. It is no longer watched.
func (p *pool) take(user string, d digest, now time.Time) *link {
	for {
		l := p.pick(user, d, now)
		if l == nil {
			return nil
		}
		l.nc.SetReadDeadline(time.Unix(1, 0))
		<-l.watched
		if !l.gone {
			return l
		}
		p.done(l) // its watcher has closed it
	}
}

func (p *pool) pick(user string, d digest, now time.Time) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.users[user]
	if a == nil || !hmac.Equal(a.digest[:], d[:]) {
		return nil
	}
	for len(a.kept) > 0 {
		l := a.kept[len(a.kept)-1]
		if now.Sub(l.checked) < p.limits.Recheck {
			p.remove(l)
			a.out++
			return l
		}
		p.drop(l)
	}
	return nil
}

// born notes a link that was made by a good login. Links of another password are
// of one that may be good no more.
func (p *pool) born(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.users[l.user]
	if a == nil {
		a = &account{}
		p.users[l.user] = a
	}
	a.out++
	if a.digest != l.digest {
		a.digest = l.digest
		for len(a.kept) > 0 {
			p.drop(a.kept[0])
		}
	}
}

// done notes that the session of a link has ended, and the link with it.
func (p *pool) done(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[l.user].out--
	p.forget(l.user)
}

// keep takes a link back that is as it was after its login, and says whether it
// does: otherwise the link is to be closed.
func (p *pool) keep(l *link, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.users[l.user]
	defer func() {
		a.out--
		p.forget(l.user)
	}()
	if p.closed || a.digest != l.digest || p.limits.Kept == 0 || p.limits.KeptPerUser == 0 || now.Sub(l.checked) >= p.limits.Recheck {
		return false
	}
	for len(a.kept) >= p.limits.KeptPerUser {
		p.drop(a.kept[0])
	}
	for p.order.Len() >= p.limits.Kept {
		p.drop(p.order.Front().Value.(*link))
	}
	a.kept = append(a.kept, l)
	p.at[l] = p.order.PushBack(l)
	l.watched = make(chan struct{})
	l.nc.SetDeadline(now.Add(p.limits.KeptTime))
	go p.watch(l)
	return true
}

// watch waits until a link that is kept is of no use any more, or is taken. It
// reads nothing of it: what a server says to nobody is a reason to let it go, as BYE is.
func (p *pool) watch(l *link) {
	_, err := l.br.Peek(1)
	p.mu.Lock()
	_, kept := p.at[l]
	if kept {
		p.remove(l)
		p.forget(l.user)
	}
	p.mu.Unlock()
	if l.gone = kept || err == nil || !isTimeout(err); l.gone {
		l.quit()
	}
	close(l.watched)
}

// drop lets go of a link that is kept. mu is held.
func (p *pool) drop(l *link) {
	p.remove(l)
	p.forget(l.user)
	l.nc.SetReadDeadline(time.Unix(1, 0))
	go func() {
		<-l.watched
		if !l.gone {
			l.quit()
		}
	}()
}

// remove takes a link off the lists. mu is held.
func (p *pool) remove(l *link) {
	p.order.Remove(p.at[l])
	delete(p.at, l)
	a := p.users[l.user]
	for i, each := range a.kept {
		if each == l {
			a.kept = append(a.kept[:i], a.kept[i+1:]...)
			break
		}
	}
}

// forget forgets a user of whom there is no link. mu is held.
func (p *pool) forget(user string) {
	if a := p.users[user]; a != nil && a.out == 0 && len(a.kept) == 0 {
		delete(p.users, user)
	}
}

// limit replaces the limits, and lets go of links that stay says no of, and of those that
// are more than may be.
func (p *pool) limit(limits limit.Proxy, stay func(l *link) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = limits
	for e := p.order.Front(); e != nil; {
		l := e.Value.(*link)
		if e = e.Next(); !stay(l) {
			p.drop(l)
		}
	}
	for _, a := range p.users {
		for len(a.kept) > limits.KeptPerUser {
			p.drop(a.kept[0])
		}
	}
	for p.order.Len() > limits.Kept {
		p.drop(p.order.Front().Value.(*link))
	}
}

// close lets go of all links, and keeps none from now on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.limit(p.limits, func(*link) bool { return false })
}

// kept is how many links there are that nobody uses.
func (p *pool) kept() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}

package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"mailstead/imapserver/handoff"
)

// guesses is what is known of those who try passwords. The rules:
//
//   - A wrong password counts against its source, and against its account
//     unless that account has logged in from that source before.
//   - A source or an account whose quota is used up is refused unheard. An
//     account is always heard from a source that it has logged in from, so that
//     nobody locks its owner out.
//   - The same wrong password again is a device that was not told of a new one,
//     not a guess: it is refused, but does not count.
type guesses struct {
	limits   atomic.Pointer[Limits]
	key      [32]byte // of the digests of passwords; gone with the process
	seed     maphash.Seed
	sources  *buckets[netip.Prefix]
	accounts *buckets[uint64] // by hash of the name, which may be one that does not exist
	homes    *memory[pair, struct{}]
	tried    *memory[pair, tries]
}

// pair is an account at a source.
type pair struct {
	account uint64
	source  netip.Prefix
}

// tries is the digests of the last wrong passwords.
type tries struct {
	digests [4]uint64
	next    int
}

func newGuesses(l Limits) *guesses {
	g := &guesses{
		seed:     maphash.MakeSeed(),
		sources:  newBuckets[netip.Prefix](quota{l.SourceMinute, l.SourceDay}, l.Table),
		accounts: newBuckets[uint64](quota{l.AccountMinute, l.AccountDay}, l.Table),
		homes:    newMemory[pair, struct{}](l.Table),
		tried:    newMemory[pair, tries](l.Table),
	}
	g.limits.Store(&l)
	rand.Read(g.key[:])
	return g
}

// limit replaces the limits. What has been counted stays.
func (g *guesses) limit(l Limits) {
	g.limits.Store(&l)
	g.sources.allow(quota{l.SourceMinute, l.SourceDay})
	g.accounts.allow(quota{l.AccountMinute, l.AccountDay})
}

func (g *guesses) pair(c *handoff.Credentials) pair {
	return pair{maphash.String(g.seed, c.User), handoff.Source(c.Remote)}
}

// admit says why a login must be refused unheard, or "".
func (g *guesses) admit(p pair, now time.Time) string {
	if _, home := g.homes.get(p); home {
		return ""
	}
	switch {
	case g.sources.full(p.source, now):
		return "too many failed logins of this address"
	case g.accounts.full(p.account, now):
		return "too many failed logins of this user"
	}
	return ""
}

// right notes a good login.
func (g *guesses) right(p pair, now time.Time) {
	g.homes.update(p, now, func(struct{}) struct{} { return struct{}{} })
}

// wrong notes a refused one.
func (g *guesses) wrong(p pair, password string, now time.Time) {
	d := g.digest(password)
	repeated := false
	g.tried.update(p, now, func(t tries) tries {
		if repeated = slices.Contains(t.digests[:], d); !repeated {
			t.digests[t.next] = d
			t.next = (t.next + 1) % len(t.digests)
		}
		return t
	})
	if repeated {
		return
	}
	g.sources.add(p.source, now)
	if _, home := g.homes.get(p); !home {
		g.accounts.add(p.account, now)
	}
}

// digest tells passwords apart; it is keyed, so it is of no use outside this
// process, and never 0.
func (g *guesses) digest(password string) uint64 {
	m := hmac.New(sha256.New, g.key[:])
	m.Write([]byte(password))
	return binary.LittleEndian.Uint64(m.Sum(nil)) | 1
}

// delay is how long a refusal of that source takes: four times as long for
// each that it has had in the last minute or so, the present one excepted.
func (g *guesses) delay(source netip.Prefix, now time.Time) time.Duration {
	level := g.sources.level(source, now)
	l := g.limits.Load()
	d := float64(l.Delay) * math.Pow(4, max(0, math.Ceil(level)-1))
	return time.Duration(min(d, float64(l.MaxDelay)))
}

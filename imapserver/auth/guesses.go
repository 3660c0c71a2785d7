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
	"strings"
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
//     nobody locks its owner out; but not where many users share the source, as
//     then who guesses comes from where the owner does.
//   - The same wrong password again is a device that was not told of a new one,
//     not a guess: it is refused, but does not count.
//   - An account whose sessions from a source end by a fault of ours is refused
//     unheard there, at home too, once there were as many in a minute as a source may
//     have wrong passwords: whoever has found how to bring one about has to wait.
type guesses struct {
	limits   atomic.Pointer[Limits]
	key      [32]byte // of the digests of passwords; gone with the process
	seed     maphash.Seed
	sources  *buckets[uint64]
	accounts *buckets[uint64]
	faults   *buckets[uint64]          // by pair.both
	homes    *memory[uint64, struct{}] // by pair.both
	tried    *memory[uint64, tries]    // the same
}

// pair is an account at a source, each and both by a keyed hash: nobody can make
// two that are the same, and the tables are small. There may be no such account.
type pair struct {
	account, source, both uint64
	shared                bool // many users come from the source: see Auth.pair
}

// tries is the digests of the last wrong passwords.
type tries struct {
	digests [4]uint32
	next    uint8
}

func newGuesses(l Limits) *guesses {
	g := &guesses{
		seed:     maphash.MakeSeed(),
		sources:  newBuckets[uint64](quota{l.SourceMinute, l.SourceDay}, l.Table),
		accounts: newBuckets[uint64](quota{l.AccountMinute, l.AccountDay}, l.Table),
		faults:   newBuckets[uint64](faultQuota(l), l.Table/16),
		homes:    newMemory[uint64, struct{}](l.Table),
		tried:    newMemory[uint64, tries](l.Table / 2), // the largest of them
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
	g.faults.allow(faultQuota(l))
}

// faultQuota is what may be of faults: any day may have what its minutes may, as an honest
// client that a message of the user's brings to it is not to be kept out until tomorrow.
func faultQuota(l Limits) quota { return quota{l.SourceMinute, 24 * 60 * l.SourceMinute} }

// home is what pair.both is the hash of.
type home struct {
	user   string
	source netip.Prefix
}

// pair is who tries, where. Capitals give a name no quota of its own.
func (g *guesses) pair(user string, remote netip.Addr) pair {
	user = strings.ToLower(user)
	source := handoff.Source(remote)
	return pair{account: maphash.String(g.seed, user), source: maphash.Comparable(g.seed, source), both: maphash.Comparable(g.seed, home{user, source})}
}

// faulty is why a login is refused unheard whose password may be right.
const faulty = "too many sessions of this user from this address have ended by a fault of ours"

// admit says why a login must be refused unheard, or "".
func (g *guesses) admit(p pair, now time.Time) string {
	if g.faults.full(p.both, now) {
		return faulty
	}
	_, home := g.homes.get(p.both)
	switch {
	case home && !p.shared:
	case g.sources.full(p.source, now):
		return "too many failed logins of this address"
	case !home && g.accounts.full(p.account, now):
		return "too many failed logins of this user"
	}
	return ""
}

// right notes a good login.
func (g *guesses) right(p pair, now time.Time) {
	g.homes.update(p.both, now, func(struct{}) struct{} { return struct{}{} })
}

// wrong notes a refused one.
func (g *guesses) wrong(p pair, password string, now time.Time) {
	d := g.digest(password)
	repeated := false
	g.tried.update(p.both, now, func(t tries) tries {
		if repeated = slices.Contains(t.digests[:], d); !repeated {
			t.digests[t.next] = d
			t.next = (t.next + 1) % uint8(len(t.digests))
		}
		return t
	})
	if repeated {
		return
	}
	g.sources.add(p.source, now)
	if _, home := g.homes.get(p.both); !home {
		g.accounts.add(p.account, now)
	}
}

// fault notes that a session has ended by a fault of ours.
func (g *guesses) fault(p pair, now time.Time) { g.faults.add(p.both, now) }

// digest tells passwords apart; it is keyed, so it is of no use outside this
// process, and never 0.
func (g *guesses) digest(password string) uint32 {
	m := hmac.New(sha256.New, g.key[:])
	m.Write([]byte(password))
	return binary.LittleEndian.Uint32(m.Sum(nil)) | 1
}

// delay is how long a refusal of that source takes: four times as long for
// each that it has had in the last minute or so, the present one excepted.
func (g *guesses) delay(source uint64, now time.Time) time.Duration {
	level := g.sources.level(source, now)
	l := g.limits.Load()
	d := float64(l.Delay) * math.Pow(4, max(0, math.Ceil(level)-1))
	return time.Duration(min(d, float64(l.MaxDelay)))
}

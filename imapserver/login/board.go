package login

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"mailstead/imapserver/handoff"
)

// Board is where a login process counts, and where it reads what those of other
// listeners count: memory that each of them alone can write to. So limits hold over
// all listeners, at the cost of a few reads for each connection, and while auth is
// away. Whoever was taken over may write what it likes into its own: no listener goes
// by that beyond kept and alone, or it could shut the others.
//
// Of the nil Board, which one process for all listeners has, nothing is to be read.
type Board struct {
	File *os.File // ours, for the others to read

	own *page
	key []byte // the same for all; nil until it is told

	mu     sync.RWMutex
	others map[string]*page // by listener
}

// What is counted. The first two are counted in all, too.
const (
	waiting = iota // connections that are not logged in
	logged         // sessions
	entered        // connections of a minute
	kinds
)

// Sources and nets are counted in cells, of which each has one in each row by a
// digest with a key, so that nobody can choose to share another's. What a source has is
// the least of its cells. That may be too much where it shares all of them, never too
// little.
const (
	rows  = 2
	cells = 1 << 16
)

// page is a board's memory. One process writes to it.
type page struct {
	all   [logged + 1]atomic.Uint64
	cells [kinds][rows][cells]atomic.Uint64
}

// spot is the cells of a source or a net.
type spot [rows]uint16

// mostSaid is what we believe of a number that another process says.
const mostSaid = 1 << 24

// NewBoard makes one that has no others yet.
func NewBoard() (*Board, error) {
	mem, f, err := handoff.Share(int(unsafe.Sizeof(page{})))
	if err != nil {
		return nil, err
	}
	return &Board{File: f, own: pageOf(mem), others: map[string]*page{}}, nil
}

func pageOf(mem []byte) *page { return (*page)(unsafe.Pointer(unsafe.SliceData(mem))) }

func (p *page) unmap() { handoff.Unshare(unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))) }

// Key is told before anything is counted. A key that comes later is no use any more:
// what was counted is where the first one has put it.
func (b *Board) Key(key []byte) {
	if b != nil && b.key == nil {
		b.key = key
	}
}

// Join takes the board of another listener, in place of one that it had, and closes f.
func (b *Board) Join(listener string, f *os.File) error {
	defer f.Close()
	if b == nil {
		return nil
	}
	mem, err := handoff.Shared(f, int(unsafe.Sizeof(page{})))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.others[listener]; old != nil {
		old.unmap()
	}
	b.others[listener] = pageOf(mem)
	return nil
}

// Only forgets the boards of all listeners but some.
func (b *Board) Only(listeners []string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for listener, p := range b.others {
		if !slices.Contains(listeners, listener) {
			p.unmap()
			delete(b.others, listener)
		}
	}
}

// say writes how many there are in all.
func (b *Board) say(kind, n int) {
	if b != nil {
		b.own.all[kind].Store(uint64(n))
	}
}

// elsewhere is how many there are at the other listeners, each of which is taken to
// have kept at least.
func (b *Board) elsewhere(kind, kept int) (n int) {
	if b == nil {
		return 0
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, p := range b.others {
		n += max(int(min(p.all[kind].Load(), mostSaid)), kept)
	}
	return n
}

// kept is our part of a tenth of a limit, which is for the listeners in equal parts:
// what nobody else can take.
func (b *Board) kept(limit int) int {
	if b == nil {
		return limit / 10
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return limit / 10 / (len(b.others) + 1)
}

// spot finds the cells of a source or a net.
func (b *Board) spot(p netip.Prefix) (s spot) {
	if b == nil {
		return s
	}
	data := append(make([]byte, 0, 64), b.key...)
	addr := p.Addr().As16()
	sum := sha256.Sum256(append(append(data, addr[:]...), byte(p.Bits())))
	for i := range s {
		s[i] = binary.LittleEndian.Uint16(sum[2*i:])
	}
	return s
}

// add counts in cells.
func (b *Board) add(kind int, s spot, n int) {
	if b == nil {
		return
	}
	for i := range s {
		b.own.cells[kind][i][s[i]].Add(uint64(n))
	}
}

// enter counts in cells that begin anew with each minute, which they have in their
// upper half.
func (b *Board) enter(s spot, minute uint32, n int) {
	if b == nil {
		return
	}
	for i := range s {
		cell := &b.own.cells[entered][i][s[i]]
		c := cell.Load()
		if uint32(c>>32) != minute {
			c = uint64(minute) << 32
		}
		cell.Store(c + uint64(n))
	}
}

// has is what the others have counted in cells, and enter's alone in that minute.
func (b *Board) has(kind int, s spot, minute uint32) (n int) {
	if b == nil {
		return 0
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, p := range b.others {
		least := uint64(mostSaid)
		for i := range s {
			c := p.cells[kind][i][s[i]].Load()
			if kind == entered {
				if uint32(c>>32) != minute {
					c = 0
				}
				c = uint64(uint32(c))
			}
			least = min(least, c)
		}
		n += int(least)
	}
	return n
}

// over tells whether own, one of which is new, are more than may be together with
// what others say. The first of an address at a listener never is.
func over(own, others, limit int) bool {
	return own > limit || own > 1 && own+others > limit
}

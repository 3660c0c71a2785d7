package login

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
)

// again is another descriptor of a file, as a process gets that it is sent to.
func again(t testing.TB, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "board")
}

// boards is those of so many listeners, each of which has the others'.
func boards(t testing.TB, n int) []*Board {
	t.Helper()
	var all []*Board
	for range n {
		b, err := NewBoard()
		if err != nil {
			t.Fatal(err)
		}
		b.Key([]byte("key"))
		t.Cleanup(func() { b.Only(nil); b.own.unmap(); b.File.Close() })
		all = append(all, b)
	}
	for i, b := range all {
		for j, other := range all {
			if i == j {
				continue
			}
			if err := b.Join(fmt.Sprint(j), again(t, other.File)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func gates(t testing.TB, n int, l Limits) (all []*gate) {
	for _, b := range boards(t, n) {
		all = append(all, newGate(l, b))
	}
	return all
}

// roomy has no limits but those that a test sets.
func roomy() Limits {
	l := Default
	l.Begin, l.Full, l.PerSource, l.NewMinute = 1<<20, 1<<20, 1<<20, 1<<20
	l.Sessions, l.SourceSessions, l.PerUser, l.PerUserSource = 1<<20, 1<<20, 1<<20, 1<<20
	return l
}

// TestBoardsChange has another listener say another number each time that it is asked,
// where all places are given before any is by chance.
func TestBoardsChange(t *testing.T) {
	l := roomy()
	l.Begin, l.Full = 300, 300
	all := boards(t, 2)
	g, other := newGate(l, all[0]), all[1]
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for n := uint64(0); ; n++ {
			select {
			case <-done:
				return
			default:
				other.own.all[waiting].Store(n % 2 * mostSaid)
			}
		}
	})
	g.open = 100
	for range 200_000 {
		g.drop(false)
	}
	close(done)
	group.Wait()
}

// TestAllListenersWait has many at once come to three listeners: no more wait than
// may, and no fewer.
func TestAllListenersWait(t *testing.T) {
	l := roomy()
	l.Begin, l.Full, l.Reserve = 300, 300, 50
	all := gates(t, 3, l)
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			for j := range 200 {
				all[i%3].enter(stranger(i*200+j), false, time.Now())
			}
		})
	}
	group.Wait()
	// Two who came at once may both have been turned away: one more shows.
	for i := range 3 {
		for j := range 50 {
			all[i].enter(stranger(5000+50*i+j), false, time.Now())
		}
	}
	if n := all[0].count() + all[1].count() + all[2].count(); n != 300 {
		t.Errorf("%d wait", n)
	}
	// Of those that there are when it is full, one leaves at another listener.
	if all[1].enter(stranger(9000), false, time.Now()) == "" {
		t.Fatal("one more than may wait")
	}
	i := 0
	if all[0].count() < all[2].count() {
		i = 2
	}
	all[i].leave(netip.Addr{}, true)
	if why := all[1].enter(stranger(9000), false, time.Now()); why != "" {
		t.Errorf("after another listener has one less: %s", why)
	}
	// Where users have logged in from, the reserve is one for all listeners, too.
	for _, g := range all {
		for i := range 100 {
			g.loggedIn(stranger(20_000+i), time.Now())
		}
	}
	for i := range 100 {
		for _, g := range all {
			g.enter(stranger(20_000+i), false, time.Now())
		}
	}
	if n := all[0].count() + all[1].count() + all[2].count(); n != 350 {
		t.Errorf("%d wait with the reserve", n)
	}
}

// TestFloodElsewhere: strangers who fill one listener leave the others what is kept
// for these, and early drop goes by all of them.
func TestFloodElsewhere(t *testing.T) {
	l := roomy()
	l.Begin, l.Full, l.Rate, l.Reserve = 400, 400, 30, 0
	all := gates(t, 2, l)
	for i := range 1000 {
		all[0].enter(stranger(i), false, time.Now())
	}
	if n := all[0].count(); n != 380 {
		t.Errorf("one listener alone has %d of 400, of which 20 are kept for the other", n)
	}
	in := 0
	for i := range 100 {
		if all[1].enter(stranger(2000+i), false, time.Now()) == "" {
			in++
		}
	}
	if in != 20 {
		t.Errorf("beside a flood elsewhere %d come in", in)
	}
	for _, g := range all {
		l.Begin = 10
		g.limit(l)
	}
	all[1].open = 15
	dropped := 0
	for range 1000 {
		if all[1].drop(false) {
			dropped++
		}
	}
	if dropped < 900 {
		t.Errorf("%d of 1000 are dropped at random where 395 of 400 wait at both listeners", dropped)
	}
}

func TestAllListenersOfAnAddress(t *testing.T) {
	l := roomy()
	l.PerSource = 3
	at := time.Unix(1e9, 0)
	for _, addr := range []string{"192.0.2.7", "2001:db8::7"} {
		all := gates(t, 3, l)
		a := netip.MustParseAddr(addr)
		enter := func(i int, want bool) {
			t.Helper()
			if why := all[i].enter(a, false, at); (why == "") != want {
				t.Errorf("%s at listener %d: %q", addr, i, why)
			}
		}
		enter(0, true)
		enter(1, true)
		enter(1, true)
		enter(0, false)
		enter(1, false)
		enter(2, true) // its first there
		enter(2, false)
		all[2].leave(a, false)
		all[1].leave(a, false)
		enter(0, true)
		enter(0, false)
		if n := all[0].count() + all[1].count() + all[2].count(); n != 3 {
			t.Errorf("%d are counted", n)
		}
		// Another source is another matter.
		a = a.Next()
		if a.Is6() {
			a = netip.MustParseAddr("2001:db8:0:1::7")
		}
		enter(0, true)
	}

	l = roomy()
	l.NewMinute = 5
	all := gates(t, 2, l)
	visit := func(i int, at time.Time) string {
		defer func() {
			if all[i].count() > 0 {
				all[i].leave(stranger(1), false)
			}
		}()
		return all[i].enter(stranger(1), false, at)
	}
	for i := range 5 {
		if why := visit(i%2, at); why != "" {
			t.Fatalf("connection %d: %s", i, why)
		}
	}
	if visit(0, at) == "" || visit(1, at) == "" {
		t.Error("a sixth connection in a minute")
	}
	if why := visit(0, at.Add(time.Minute)); why != "" {
		t.Errorf("a minute later: %s", why)
	}
}

func TestAllListenersSessions(t *testing.T) {
	session := func(i int) *relay {
		return &relay{user: fmt.Sprint(i), source: handoff.Source(stranger(i))}
	}
	l := roomy()
	l.Sessions = 100
	b := boards(t, 2)
	one, two := newSessions(l, b[0]), newSessions(l, b[1])
	var first *relay
	for i := range 200 {
		r := session(i)
		if one.add(r) == "" && first == nil {
			first = r
		}
	}
	if one.total() != 95 {
		t.Errorf("one listener alone has %d of 100 sessions", one.total())
	}
	for i := range 50 {
		two.add(session(1000 + i))
	}
	if n := one.total() + two.total(); n != 100 {
		t.Errorf("%d sessions", n)
	}
	one.remove(first)
	if why := two.add(session(2000)); why != "" {
		t.Errorf("after one has ended elsewhere: %s", why)
	}

	l = roomy()
	l.SourceSessions = 3
	b = boards(t, 2)
	one, two = newSessions(l, b[0]), newSessions(l, b[1])
	r := session(1)
	if one.add(r) != "" || one.add(session(1)) != "" || two.add(session(1)) != "" {
		t.Fatal("three sessions of an address are too many")
	}
	if why := two.add(session(1)); why != "of this address" {
		t.Errorf("a fourth: %q", why)
	}
	if why := two.add(session(2)); why != "" {
		t.Errorf("of another address: %s", why)
	}
	one.remove(r)
	if why := two.add(session(1)); why != "" {
		t.Errorf("after one has ended elsewhere: %s", why)
	}
}

// TestLyingBoard: a login that was taken over says of everything that there is as much
// as can be. The others go on to serve who comes, one by one and a few at once.
func TestLyingBoard(t *testing.T) {
	b := boards(t, 2)
	liar := b[1].own
	for k := range liar.cells {
		for i := range liar.cells[k] {
			for j := range liar.cells[k][i] {
				liar.cells[k][i][j].Store(uint64(minuteOf(time.Now()))<<32 | 1<<32 - 1)
				if k != entered {
					liar.cells[k][i][j].Store(1<<64 - 1)
				}
			}
		}
	}
	for k := range liar.all {
		liar.all[k].Store(1<<64 - 1)
	}
	g, s := newGate(Default, b[0]), newSessions(Default, b[0])
	for i := range Default.Full / 20 {
		if why := g.enter(stranger(1000*i), false, time.Now()); why != "" {
			t.Fatalf("%d: %s", i, why)
		}
		if why := s.add(&relay{user: fmt.Sprint(i), source: handoff.Source(stranger(1000 * i))}); why != "" {
			t.Fatalf("session %d: %s", i, why)
		}
	}
	if g.enter(stranger(7), false, time.Now()) == "" {
		t.Error("the test's lie is not believed at all")
	}
	// What it says is bounded, and gone with it.
	if n := b[0].elsewhere(waiting, 0); n != mostSaid {
		t.Errorf("%d are believed", n)
	}
	b[0].Only(nil)
	if why := g.enter(stranger(7), false, time.Now()); why != "" {
		t.Errorf("once it is gone: %s", why)
	}
}

// TestForeignBoards: memory that its sender could take away under us, or that is too
// short, is not read; ours nobody can write to.
func TestForeignBoards(t *testing.T) {
	b := boards(t, 1)[0]
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	size, err := b.File.Stat()
	if err != nil {
		t.Fatal(err)
	}
	plain.Truncate(size.Size())
	memory := func(size int64, seals int) *os.File {
		fd, err := unix.MemfdCreate("foreign", unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		unix.Ftruncate(fd, size)
		unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		return os.NewFile(uintptr(fd), "foreign")
	}
	all := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE
	for name, f := range map[string]*os.File{
		"a plain file": plain, "unsealed": memory(size.Size(), 0), "can shrink": memory(size.Size(), all&^unix.F_SEAL_SHRINK),
		"short": memory(size.Size()-1, all), "long": memory(size.Size()+1, all), "empty": memory(0, all),
	} {
		if err := b.Join("other", f); err == nil || !strings.Contains(err.Error(), "no shared memory") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Join("other", memory(size.Size(), all)); err != nil {
		t.Error(err)
	}
	if _, err := unix.Mmap(int(b.File.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("others can write to our board")
	}
	if _, err := b.File.WriteAt([]byte("x"), 0); err == nil {
		t.Error("others can write to our board by its file")
	}
	if err := b.File.Truncate(0); err == nil {
		t.Error("others can cut our board short")
	}
}

func BenchmarkEnter(b *testing.B) {
	for _, n := range []int{0, 1, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := newGate(roomy(), nil)
			if n > 0 {
				g = gates(b, n, roomy())[0]
			}
			now := time.Now()
			for i := 0; b.Loop(); i++ {
				g.enter(stranger(i%1000), false, now)
				g.leave(stranger(i%1000), false)
			}
		})
	}
}

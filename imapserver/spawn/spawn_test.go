package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
)

// TestMain is also the worker of these tests: it writes its process id to each
// session's stream, says that it is idle once it has been asked to by the
// session's user, and dies, hangs or leaves where that is the user's name.
func TestMain(m *testing.M) {
	if os.Getenv("SPAWN_TEST_WORKER") == "" {
		os.Exit(m.Run())
	}
	c, err := handoff.NewConn(os.NewFile(Channel, "supervisor"))
	if err != nil {
		os.Exit(9)
	}
	for n := uint64(1); ; n++ {
		m, err := c.Receive()
		if l, ok := m.(*handoff.Look); ok {
			if a, err := handoff.NewConn(l.Answer); err == nil {
				a.Send(&handoff.Doing{Session: []byte("1")})
				a.Close()
			}
			n--
			continue
		}
		s, ok := m.(*handoff.Session)
		if err != nil || !ok {
			os.Exit(0)
		}
		io.WriteString(s.Stream, string(rune('A'+n-1)))
		if s.User == "leave" { // and end once its only session has
			s.Stream.Read(make([]byte, 1))
			c.Close()
			io.WriteString(s.Stream, "left")
			io.ReadAll(s.Stream)
			io.WriteString(s.Stream, "end")
			os.Exit(0)
		}
		s.Stream.Close()
		switch s.User {
		case "stay":
			c.Send(&handoff.Idle{Sessions: n})
			time.Sleep(time.Hour)
		case "die":
			os.Exit(3)
		case "hang":
			time.Sleep(time.Hour)
		case "idle":
			c.Send(&handoff.Idle{Sessions: n})
		case "idle too early":
			c.Send(&handoff.Idle{Sessions: n - 1})
		case "misbehave":
			c.Send(&handoff.Ready{})
		}
	}
}

// tested is a Spawner whose workers are this test's own program, as whoever
// runs it.
func tested(t *testing.T) (*Spawner, *atomic.Int64) {
	t.Helper()
	s := New(slog.New(slog.NewTextHandler(io.Discard, nil)), "")
	var started atomic.Int64
	s.start = func(i Identity, _ *handoff.Session) (*Process, error) {
		if i.UID == 999 {
			return nil, errors.New("no process left")
		}
		started.Add(1)
		ours, theirs, err := handoff.Pair()
		if err != nil {
			return nil, err
		}
		defer theirs.Close()
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"SPAWN_TEST_WORKER=1"}
		cmd.ExtraFiles = []*os.File{theirs}
		return &Process{ours, cmd}, cmd.Start()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		s.Stop(ctx)
	})
	return s, &started
}

// hand hands a session of that user over, and gives what the worker says first:
// A for its first session, B for its second ...
func hand(t *testing.T, s *Spawner, uid int, user string) (string, error) {
	t.Helper()
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_, err = s.Hand(Identity{uid, uid}, &handoff.Session{Open: handoff.Open{User: user, Stream: theirs}})
	theirs.Close()
	if err != nil {
		return "", err
	}
	ours.SetDeadline(time.Now().Add(5 * time.Second))
	said, _ := io.ReadAll(ours)
	return string(said), nil
}

// expect hands a session over and wants that to be said.
func expect(t *testing.T, s *Spawner, uid int, user, want string) {
	t.Helper()
	if got, err := hand(t, s, uid, user); got != want || err != nil {
		t.Errorf("%s of uid %d: %q %v, not %q", user, uid, got, err, want)
	}
}

// eventually waits for f.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func (s *Spawner) killed(number uint64) {
	s.each(func(w *worker) bool { return w.number == number }, func(w *worker) { s.end(w); w.proc.Kill() })
}

func (s *Spawner) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers)
}

func TestWorkersAreShared(t *testing.T) {
	s, started := tested(t)
	expect(t, s, 1000, "alice", "A")
	expect(t, s, 1000, "alice again", "B")
	expect(t, s, 1001, "bob", "A")
	expect(t, s, 1000, "virtual", "C")
	if n := started.Load(); n != 2 {
		t.Errorf("%d workers for two uids", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	s, started := tested(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if got, err := hand(t, s, 1000+i%2, "x"); len(got) != 1 || err != nil {
				t.Errorf("%q %v", got, err)
			}
		})
	}
	all.Wait()
	if n := started.Load(); n != 2 {
		t.Errorf("%d workers for two uids", n)
	}
}

func TestIdleWorkerEnds(t *testing.T) {
	s, _ := tested(t)
	expect(t, s, 1000, "idle", "A")
	eventually(t, "the idle worker is still there", func() bool { return s.count() == 0 })
	expect(t, s, 1000, "x", "A")
	// One that says so while a session is on its way to it stays.
	expect(t, s, 1000, "idle too early", "B")
	time.Sleep(20 * time.Millisecond)
	expect(t, s, 1000, "x", "C")
}

func TestWorkerDies(t *testing.T) {
	s, started := tested(t)
	expect(t, s, 1001, "bob", "A")
	for _, user := range []string{"die", "misbehave"} {
		expect(t, s, 1000, user, "A")
		eventually(t, "the dead worker is still there", func() bool { return s.count() == 1 })
		expect(t, s, 1000, "alice", "A")
		expect(t, s, 1000, "die", "B")
		eventually(t, "the dead worker is still there", func() bool { return s.count() == 1 })
	}
	expect(t, s, 1001, "bob", "B")
	if n := started.Load(); n != 5 {
		t.Errorf("%d workers were started", n)
	}
}

// TestWorkerHangs kills the worker that is meant and none that came after it.
func TestWorkerHangs(t *testing.T) {
	s, started := tested(t)
	number := func(uid int, user string) uint64 {
		t.Helper()
		ours, theirs, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		defer theirs.Close()
		n, err := s.Hand(Identity{uid, uid}, &handoff.Session{Open: handoff.Open{User: user, Stream: theirs}})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	bob, alice := number(1001, "bob"), number(1000, "hang")
	if again := number(1000, "late"); again != alice || alice == bob {
		t.Errorf("worker %d, then %d; bob's is %d", alice, again, bob)
	}
	s.killed(alice)
	expect(t, s, 1000, "alice", "A")
	s.killed(alice)      // says another of its sessions
	s.killed(alice * 10) // nobody's
	expect(t, s, 1000, "alice", "B")
	expect(t, s, 1001, "bob", "B")
	if n := started.Load(); n != 3 {
		t.Errorf("%d workers were started", n)
	}
}

// begin hands a session over and gives the client's end, the worker having answered.
func begin(t *testing.T, s *Spawner, uid int, user string) *net.UnixConn {
	t.Helper()
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	defer theirs.Close()
	if _, err := s.Hand(Identity{uid, uid}, &handoff.Session{Open: handoff.Open{User: user, Stream: theirs}}); err != nil {
		t.Fatal(err)
	}
	ours.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(ours, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return ours
}

// TestFaultOfOneSession: what cannot be sent is a fault of its own, and a worker that
// takes no more sessions ends those that it has.
func TestFaultOfOneSession(t *testing.T) {
	s, started := tested(t)
	expect(t, s, 1000, "alice", "A")
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	for _, m := range []*handoff.Session{
		{Comment: strings.Repeat("x", handoff.MaxPacket), Open: handoff.Open{Stream: theirs}}, {Open: handoff.Open{Stream: nil}},
	} {
		if _, err := s.Hand(Identity{1000, 1000}, m); err == nil {
			t.Error("a session that cannot be sent was")
		}
	}
	expect(t, s, 1000, "alice", "B")
	for uid := range 10 { // a message that it does not take comes before that is known, as likely as not
		leaving := begin(t, s, 2000+uid, "leave")
		w := s.at(2000 + uid)
		w.mu.Lock()
		io.WriteString(leaving, "x")
		_, err := io.ReadFull(leaving, make([]byte, len("left")))
		w.mu.Unlock()
		expect(t, s, 2000+uid, "alice", "A")
		leaving.CloseWrite()
		if said, rerr := io.ReadAll(leaving); err != nil || string(said) != "end" {
			t.Errorf("the session of a worker that leaves: %v, %q %v", err, said, rerr)
		}
	}
	if n := started.Load(); n != 21 {
		t.Errorf("%d workers were started", n)
	}
}

// TestDiesUnread: a worker that has died is seen to have, whether or not it had read what
// it was sent, and the session goes to another one.
func TestDiesUnread(t *testing.T) {
	s, _ := tested(t)
	for unread := range 3 {
		p, err := s.start(Identity{1000, 1000}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		ours, theirs, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		defer theirs.Close()
		m := &handoff.Session{Open: handoff.Open{User: "hang", Stream: theirs}}
		for range 1 + unread {
			if err := p.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		io.ReadFull(ours, make([]byte, 1)) // it hangs now
		p.Kill()
		p.Wait()
		w := &worker{id: Identity{1000, 1000}, proc: p} // of which nobody else has heard yet
		if again, err := w.hand(s, m); !again || err == nil || !w.ended {
			t.Errorf("%d messages unread: again is %v, ended is %v: %v", unread, again, w.ended, err)
		}
	}
}

// TestRetiresWhatHangs: nobody waits for a worker that takes nothing any more until it
// has been told to end.
func TestRetiresWhatHangs(t *testing.T) {
	s, _ := tested(t)
	expect(t, s, 1000, "hang", "A")
	w := s.at(1000)
	full := &handoff.Ready{Error: strings.Repeat("x", handoff.MaxPacket/2)}
	sent := make(chan bool)
	go func() {
		for w.proc.Send(full) == nil {
			sent <- true
		}
	}()
	for waits := false; !waits; {
		select {
		case <-sent:
		case <-time.After(time.Second): // it takes no more
			waits = true
		}
	}
	begun := time.Now()
	s.each(func(*worker) bool { return true }, s.retire)
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("to retire it took %v", d)
	}
	expect(t, s, 1000, "alice", "A")
}

// served is auth's end of a channel that spawn serves.
func served(t *testing.T, s *Spawner) *handoff.Conn {
	t.Helper()
	auth, f, err := handoff.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { auth.Close() })
	c, err := handoff.NewConn(f)
	if err != nil {
		t.Fatal(err)
	}
	go s.serve(c, os.Getuid())
	return auth
}

// TestRetireHoldsUpNobody: while a worker that takes nothing any more is to end, the
// sessions of other uids are begun at once.
func TestRetireHoldsUpNobody(t *testing.T) {
	s, _ := tested(t)
	expect(t, s, 1000, "hang", "A")
	w := s.at(1000)
	w.mu.Lock() // as while it is sent a session that it does not take
	defer w.mu.Unlock()
	auth := served(t, s)
	if err := auth.Send(&handoff.Retire{UID: 1000, GID: 1000}); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Second, func() { auth.Close() }).Stop()
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if err := auth.Send(&handoff.Session{Serial: 1, UID: 1001, GID: 1001, Open: handoff.Open{User: "alice", Stream: theirs}}); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	m, err := auth.Receive()
	if o, ok := m.(*handoff.Opened); !ok || o.Error != "" {
		t.Errorf("a session of another uid: %+v %v", m, err)
	}
}

// TestEndsInTime: a worker that was told to end, or says that it wants to, does so,
// or is killed.
func TestEndsInTime(t *testing.T) {
	s, _ := tested(t)
	s.patience = 100 * time.Millisecond
	for _, user := range []string{"stay", "leave"} {
		io.WriteString(begin(t, s, 1000, user), "x")
		eventually(t, user+": the worker is still in the table", func() bool { return s.count() == 0 })
	}
	ended := make(chan struct{})
	go func() { s.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("workers that do not end are left")
	}
}

// TestWorkerDoesNotRead: a worker that takes no message for a while may be slow. If it
// then takes no other, it is killed.
func TestWorkerDoesNotRead(t *testing.T) {
	t.Parallel()
	s, _ := tested(t)
	expect(t, s, 1000, "hang", "A")
	tries := 0
	for failed := 0; failed < 2; tries++ {
		_, theirs, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		before := s.at(1000)
		_, err = s.Hand(Identity{1000, 1000}, &handoff.Session{Comment: strings.Repeat("x", 8<<10), Open: handoff.Open{Stream: theirs}})
		theirs.Close()
		killed := s.at(1000) != before
		switch {
		case killed && failed == 0:
			t.Fatal("a worker is killed for one message that it did not take")
		case killed || err != nil:
			failed++
		case tries > 1000:
			t.Fatal("all messages are taken")
		}
	}
	expect(t, s, 1000, "alice", "B") // of one to which the second went
}

func (s *Spawner) at(uid int) *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[Identity{uid, uid}]
}

func TestWorkerDoesNotStart(t *testing.T) {
	s, _ := tested(t)
	for range 2 {
		if _, err := hand(t, s, 999, "x"); err == nil {
			t.Error("a session without a worker")
		}
	}
	if n := s.count(); n != 0 {
		t.Errorf("%d workers in the table", n)
	}
}

func TestStop(t *testing.T) {
	s, _ := tested(t)
	expect(t, s, 1000, "alice", "A")
	expect(t, s, 1001, "hang", "A")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.Stop(ctx) // which would wait for the one that hangs
	if n := s.count(); n > 0 {
		t.Errorf("%d workers are left", n)
	}
	if _, err := hand(t, s, 1000, "alice"); err == nil {
		t.Error("a session after Stop")
	}
}

// TestNobodyElseAsks: the socket alone does not say that it is auth who asks.
func TestNobodyElseAsks(t *testing.T) {
	for uid, heard := range map[int]bool{os.Getuid(): true, os.Getuid() + 1: false} {
		s, started := tested(t)
		path := filepath.Join(t.TempDir(), "spawn")
		l, err := net.Listen("unixpacket", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go s.Serve(l, uid)
		c, err := handoff.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ours, theirs, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		c.Send(&handoff.Session{Serial: 1, UID: 1000, GID: 1000, Open: handoff.Open{User: "alice", Stream: theirs}}) // or it is closed already
		theirs.Close()
		if m, err := c.Receive(); (err == nil) != heard || heard != (started.Load() == 1) {
			t.Errorf("auth of uid %d, asked by %d: %v %v", uid, os.Getuid(), m, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	for _, i := range []Identity{{0, 0}, {0, 1000}, {1000, 0}, {99, 1000}, {-1, 1000}} {
		if _, err := Start(Program, nil, i); err == nil || !strings.Contains(err.Error(), "below") {
			t.Errorf("%+v: %v", i, err)
		}
	}
}

// TestLook: the worker of a uid gets the channel over which it is to answer, and spawn
// keeps no end of it; where there is none, the channel ends.
func TestLook(t *testing.T) {
	s, _ := tested(t)
	expect(t, s, 2000, "a", "A")
	auth := served(t, s)
	for uid, want := range map[int]string{2000: "*handoff.Doing", 2001: "<nil>"} {
		ours, theirs, err := handoff.Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer time.AfterFunc(5*time.Second, func() { ours.Close() }).Stop()
		if err := auth.Send(&handoff.Look{UID: uid, GID: uid, Answer: theirs}); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		m, _ := ours.Receive()
		if got := fmt.Sprintf("%T", m); got != want {
			t.Errorf("uid %d: %s, not %s", uid, got, want)
		}
		if _, err = ours.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("uid %d: the channel goes on: %v", uid, err)
		}
	}
}

// crowded is a listener for which there is no descriptor left at first.
type crowded struct {
	net.Listener
	faults []error
}

func (l *crowded) Accept() (net.Conn, error) {
	if len(l.faults) == 0 {
		return l.Listener.Accept()
	}
	err := l.faults[0]
	l.faults = l.faults[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

// TestServeCrowded: where there is no descriptor or memory left to accept auth with, its
// sessions go on, and it is accepted once there is some.
func TestServeCrowded(t *testing.T) {
	s, _ := tested(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(&crowded{l, []error{unix.ENFILE, unix.EMFILE, unix.ENOMEM}}, os.Getuid()) }()
	c, err := handoff.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	c.Send(&handoff.Session{Serial: 1, Open: handoff.Open{User: "alice", Stream: theirs}, UID: 1000, GID: 1000})
	theirs.Close()
	if m, err := c.Receive(); err != nil || m.(*handoff.Opened).Error != "" {
		t.Errorf("%+v %v", m, err)
	}
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestStuckWorkerAlone: however many sessions wait for a worker that takes none, as one
// that its owner has stopped, those of others are begun.
func TestStuckWorkerAlone(t *testing.T) {
	s, _ := tested(t)
	expect(t, s, 1000, "hang", "A")
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go s.Serve(l, os.Getuid())
	c, err := handoff.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	const alices = 400 // of which as many are in the way to her worker as that has room for
	begun := time.Now()
	go func() {
		for serial := range uint64(alices + 1) {
			uid := map[bool]int{true: 1001, false: 1000}[serial == alices]
			c.Send(&handoff.Session{Serial: serial, Open: handoff.Open{User: "alice", Stream: theirs}, UID: uid, GID: uid})
		}
	}()
	for {
		m, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if o := m.(*handoff.Opened); o.Serial == alices {
			if took := time.Since(begun); o.Error != "" || took > 8*time.Second {
				t.Errorf("another's session is begun after %v: %q", took, o.Error)
			}
			return
		}
	}
}

package session

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// scaled is how much of something a test has: whole with MAILSTEAD_HOSTILE set.
func scaled(some, whole int) int {
	if os.Getenv("MAILSTEAD_HOSTILE") != "" {
		return whole
	}
	return some
}

// processorTime is what the process takes for fn, at best of three. Nothing else
// must be running in it.
func processorTime(fn func()) time.Duration {
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	best := time.Hour
	for range 3 {
		start := used()
		fn()
		best = min(best, used()-start)
	}
	return best
}

// grows holds that double the work is no more than 2.3 times the processor time,
// but for what is too short to be measured.
func grows(t *testing.T, name string, one, double func()) {
	t.Helper()
	for try := 0; ; try++ {
		a, b := processorTime(one), processorTime(double)
		if b <= a*23/10+10*time.Millisecond {
			return
		}
		if try == 4 {
			t.Errorf("%s: %v, of double the size %v", name, a, b)
			return
		}
	}
}

// boxOf is a server whose INBOX has n messages, names of a few files.
func boxOf(t *testing.T, n int) *server {
	s := newServer(t)
	source := ""
	for i := range n {
		name := filepath.Join(s.maildir, "cur", fmt.Sprintf("%d.M1P1.host:2,S", 1_000_000_000+i))
		if i%10_000 == 0 { // a file has some 65,000 names at most
			source = name
			if err := os.WriteFile(name, []byte("From: a@example.org\nSubject: x\n\nHi.\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Link(source, name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// hugeSets name next to nothing, or one message, of a mailbox of any size.
func hugeSets() map[string]string {
	var apart, overlapping strings.Builder
	for i := range 2500 { // more are more than a line holds
		fmt.Fprintf(&apart, "%d,%d,", 3_000_000_000+4*i, 3_000_000_002+4*i)
		fmt.Fprintf(&overlapping, "%d:%d,", 3_000_000_000+i, 4_294_967_295-i)
	}
	return map[string]string{"*:1": "4294967295:4294967294", "apart": apart.String() + "1", "overlapping": overlapping.String() + "1"}
}

// TestHugeSetsOfManyMessages holds that sets which name a message or none cost
// no more in a mailbox of many messages than in one of a single one.
func TestHugeSetsOfManyMessages(t *testing.T) {
	few, many := boxOf(t, 1), boxOf(t, scaled(20_000, 1_000_000))
	commands := []string{
		"UID FETCH %s (UID FLAGS)", "UID STORE %s +FLAGS.SILENT (x)", "UID COPY %s Other", "UID SEARCH RETURN (COUNT) UID %s",
		"UID FETCH %s (FLAGS) (CHANGEDSINCE 1 VANISHED)", "UID EXPUNGE %s",
	}
	peers := []*peer{few.connect(), many.connect()}
	for _, c := range peers {
		c.ok("CREATE Other")
		c.ok("ENABLE QRESYNC")
		c.ok("SELECT INBOX")
		c.ok("NOOP")
	}
	for name, set := range hugeSets() {
		for _, command := range commands {
			cost := func(c *peer) time.Duration {
				return processorTime(func() { c.ok("%s", fmt.Sprintf(command, set)) })
			}
			for try := 0; ; try++ {
				a, b := cost(peers[0]), cost(peers[1])
				if b <= 3*a+20*time.Millisecond {
					break
				}
				if try == 4 {
					t.Errorf("%s of %s: %v with one message, %v with many", command, name, a, b)
					break
				}
			}
		}
	}
	var singles strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&singles, "%d,", 2*i+1)
	}
	c := few.connect()
	c.ok("SELECT INBOX")
	c.send("a UID FETCH " + singles.String()[:wire.PostAuth.Line/2] + "1 UID\r\n")
	if got := c.answer("a"); !strings.Contains(got, "a OK") && !strings.Contains(got, "a BAD") && !strings.Contains(got, "a NO") {
		t.Errorf("as many numbers as a line holds: %.100s", got)
	}
	go io.WriteString(c.conn, "a UID FETCH "+singles.String()+"1 UID\r\n")
	if said, _ := io.ReadAll(c.br); !bytes.Contains(said, []byte("BYE")) {
		t.Errorf("a million numbers: %.100s", said)
	}
}

// TestSearchGrowth holds that double the keys or messages cost double.
func TestSearchGrowth(t *testing.T) {
	n := scaled(2_000, 50_000)
	boxes := []*peer{boxOf(t, n).connect(), boxOf(t, 2*n).connect()}
	for _, c := range boxes {
		c.ok("SELECT INBOX")
		c.ok("UID SEARCH HEADER Subject nothing")
		c.ok("UID THREAD REFERENCES UTF-8 ALL")
	}
	keys := func(n int) string { return "UID SEARCH" + strings.Repeat(" HEADER x-a y", n) }
	ors := func(n int) string {
		return "UID SEARCH" + strings.Repeat(" OR FLAGGED", n) + " DELETED"
	}
	grows(t, "keys", func() { boxes[0].ok("%s", keys(400)) }, func() { boxes[0].ok("%s", keys(800)) })
	grows(t, "OR", func() { boxes[0].ok("%s", ors(60)) }, func() { boxes[0].ok("%s", ors(120)) })
	for _, command := range []string{
		"UID SEARCH HEADER Subject nothing", "UID SEARCH NOT TEXT Hi", "UID SORT (SUBJECT FROM) UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL",
		"UID THREAD ORDEREDSUBJECT UTF-8 ALL",
	} {
		grows(t, command, func() { boxes[0].ok("%s", command) }, func() { boxes[1].ok("%s", command) })
	}
	c := boxes[0]
	for _, deep := range []string{
		"SEARCH" + strings.Repeat(" NOT", 10_000) + " SEEN", "SEARCH" + strings.Repeat(" OR SEEN", 2000) + " SEEN",
		"SEARCH " + strings.Repeat("(", 10_000) + "SEEN" + strings.Repeat(")", 10_000),
	} {
		if got := c.do("%s", deep); !strings.HasPrefix(got, "a BAD ") && !strings.HasPrefix(got, "a NO ") {
			t.Errorf("%.30s: %.100s", deep, got)
		}
	}
	c.ok("NOOP")
}

// TestSearchHungUp holds that a search ends that no one waits for any more: among
// as many messages as there are with MAILSTEAD_HOSTILE, within 100 ms, where it would
// take longer by itself.
func TestSearchHungUp(t *testing.T) {
	s := boxOf(t, scaled(20_000, 100_000))
	for _, command := range []string{"SEARCH NOT BODY Hi", "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "FETCH 1:* (ENVELOPE)"} {
		c := s.connect()
		c.ok("SELECT INBOX")
		c.send("a " + command + "\r\n")
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		c.conn.Close()
		c.wait()
		took := time.Since(start)
		t.Logf("%s: ended after %v", command, took)
		if os.Getenv("MAILSTEAD_HOSTILE") != "" && took > 100*time.Millisecond {
			t.Errorf("%s: ended after %v only", command, took)
		}
	}
}

// endable is the connection of a login in the same process, which ends the session.
type endable struct {
	net.Conn
	ended atomic.Bool
}

func (e *endable) Ended() bool { return e.ended.Load() }

// hungUpClient is the connection of a client that has gone.
func hungUpClient() *endable {
	ours, theirs := net.Pipe()
	ours.Close()
	gone := &endable{Conn: theirs}
	gone.ended.Store(true)
	return gone
}

// TestSearchEnded holds that a client is told in the middle of a search that its session is
// ended: by a login in this process or in another one, which hangs up.
func TestSearchEnded(t *testing.T) {
	s := boxOf(t, 20_000)
	for _, way := range []string{"end", "hang up"} {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		client, conn := socket(t, fds[0]), socket(t, fds[1])
		end := func() { client.(*net.UnixConn).CloseWrite() }
		if way == "end" {
			e := &endable{Conn: conn}
			conn, end = e, func() { e.ended.Store(true) }
		}
		c := serve(t, s.params, client, conn)
		c.ok("SELECT INBOX")
		c.send("a SEARCH NOT BODY Hi\r\n")
		time.Sleep(20 * time.Millisecond)
		end()
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if said, err := io.ReadAll(c.br); err != nil || !strings.HasSuffix(string(said), "* BYE connection closed\r\n") {
			t.Errorf("%s: %.100q, %v", way, said, err)
		}
	}
}

// TestListGrowth holds that wildcards cost in proportion to the names.
func TestListGrowth(t *testing.T) {
	list := func(folders int) *peer {
		s := newServer(t)
		c := s.connect()
		for i := range folders {
			dir := filepath.Join(s.maildir, fmt.Sprintf(".folder%d.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", i))
			for _, sub := range []string{"", "cur", "new", "tmp"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}
		return c
	}
	n := scaled(500, 10_000)
	one, double := list(n), list(2*n)
	for _, pattern := range []string{strings.Repeat("*%", 200), strings.Repeat("%a", 120) + "b", strings.Repeat("*a%", 100) + "b", strings.Repeat("*", 4000)} {
		grows(t, pattern[:6], func() { one.ok(`LIST "" %s`, pattern) }, func() { double.ok(`LIST "" %s`, pattern) })
		t.Logf("%d folders, %.6s: %v", n, pattern, processorTime(func() { one.ok(`LIST "" %s`, pattern) })-processorTime(func() { one.ok(`LIST "" *`) }))
	}
}

// TestFileChangesWhileRead has a message grow and shrink while it is read. The
// client stays in step: what is announced as a literal is sent.
func TestFileChangesWhileRead(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i, name := range []string{"1000.M1P1.host,S=1", "1001.M1P1.host,S=99999999999", "1002.M1P1.host,S=-5", "1003.M1P1.host,S=18446744073709551616,W=x"} {
		s.deliver(name, fmt.Sprintf("Subject: %d\n\n%s\n", i, strings.Repeat("line\n", 5000)))
	}
	c := s.connect()
	c.ok("SELECT INBOX")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			path := filepath.Join(s.maildir, "cur", "1001.M1P1.host,S=99999999999:2,")
			os.Truncate(path, int64(rand.IntN(30_000)))
			if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
				io.WriteString(f, strings.Repeat("more\n", rand.IntN(10_000)))
				f.Close()
			}
		}
	}()
	for range scaled(50, 5000) {
		got := c.do("FETCH 1:* (RFC822.SIZE BODY.PEEK[] BODY.PEEK[TEXT] BODYSTRUCTURE)")
		if strings.Count(got, "* ") < 4 || !strings.Contains(got, "\na OK") && !strings.Contains(got, "\na NO") {
			t.Fatalf("%.200s ... %s", got, got[max(len(got)-200, 0):])
		}
		c.want("NOOP", "a OK NOOP completed")
	}
	close(stop)
	<-done
}

// TestCompressBombs holds what bombs make the server hold, as commands and as
// messages.
func TestCompressBombs(t *testing.T) {
	s := newServer(t)
	pack := func(text ...string) []byte {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, 9)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range text {
			io.WriteString(w, part)
		}
		w.Flush()
		return b.Bytes()
	}
	const mib = 1 << 20
	n, size := scaled(3, 25), 128
	if testing.Short() {
		n, size = 1, 32
	}
	bombs := map[string][]byte{
		"line":    pack("b LIST \"\" ", strings.Repeat("x", size*mib), "\r\n"),
		"literal": pack("b LOGIN {99999999+}\r\n", strings.Repeat("x", size*mib), "\r\n"),
		"message": pack(fmt.Sprintf("b APPEND INBOX {%d+}\r\n", 200*mib), strings.Repeat("x", size*mib)),
		"lines":   pack(strings.Repeat("b NOOP\r\n", size*mib/128)),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, bomb := range bombs {
		for range n {
			c := s.connect()
			r := compressed(t, c)
			go func() {
				c.conn.Write(bomb)
				c.conn.Close()
			}()
			io.Copy(io.Discard, r)
			c.conn.Close()
			c.wait()
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(n*len(bombs)); each > 8*mib {
		t.Errorf("a bomb makes the server allocate %d KiB", each>>10)
	} else {
		t.Logf("a bomb makes the server allocate %d KiB", each>>10)
	}
}

// TestShortSessions has sessions that end in every way, and holds that nothing
// is left of them.
func TestShortSessions(t *testing.T) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", hello)
	s.params.Log = slog.New(slog.DiscardHandler)
	fates := []string{
		"a LOGOUT\r\n", "a SELECT INBOX\r\nb LOGOUT\r\n", "a SELECT INBOX\r\nb IDLE\r\n", "a SELECT INBOX\r\nb FETCH 1 BODY[]\r\n", "a APPEND INBOX {1000+}\r\nSub",
		"a", "a NOOP\r\nb", "", "a COMPRESS DEFLATE\r\n\x00\x01", "a NOTIFY SET (PERSONAL (MessageNew))\r\n", "GET / HTTP/1.1\r\n\r\n", "a SEARCH TEXT x\r\n",
		"a SELECT INBOX\r\nb SORT (DATE) UTF-8 ALL\r\nc IDLE\r\nDONE\r\nd CLOSE\r\n", "a CREATE x\r\nb DELETE x\r\n", "a UNAUTHENTICATE\r\n",
	}
	live := func(fate string) {
		c := connectQuietly(t, s.params)
		io.WriteString(c.conn, fate)
		if rand.IntN(2) == 0 {
			c.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			io.Copy(io.Discard, io.LimitReader(c.conn, 200))
		}
		c.conn.Close()
		c.wait()
		c.stop()
	}
	for _, fate := range fates {
		live(fate)
	}
	goroutines, files := settled(t, 0, 0)
	for range scaled(1000, 1_000_000) {
		live(fates[rand.IntN(len(fates))])
	}
	g, f := settled(t, goroutines, files)
	if g > goroutines+5 || f > files+5 {
		t.Errorf("%d goroutines and %d descriptors, were %d and %d", g, f, goroutines, files)
	}
}

// connectQuietly is connect without a part in the test's end.
func connectQuietly(t *testing.T, p Params) *peer {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return begin(t, p, socket(t, fds[0]), socket(t, fds[1]))
}

// settled counts goroutines and descriptors, once they are as few as they may be
// or stay as they are.
func settled(t *testing.T, goroutines, files int) (g, f int) {
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		g, f = runtime.NumGoroutine(), len(entries)
		if g <= goroutines+5 && f <= files+5 {
			break
		}
	}
	return g, f
}

// TestListPatterns holds that patterns which match nothing, or nothing that others do not,
// are not kept: with a reference before each, they would take a hundred times their octets.
func TestListPatterns(t *testing.T) {
	s, _ := heard(t)
	for name, c := range map[string]*wire.List{
		"long reference":  {Reference: strings.Repeat("b", 65_000), Patterns: slices.Repeat([]string{"c", "d"}, 500)},
		"wild reference":  {Reference: strings.Repeat("*", 65_000), Patterns: slices.Repeat([]string{"c", "%c"}, 500)},
		"the same again":  {Patterns: slices.Repeat([]string{"c", "*", "%*", "**"}, 250)},
		"longer than any": {Patterns: slices.Repeat([]string{strings.Repeat("b", 1025)}, 1000)},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		own, _, _ := s.listPatterns(c)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 || len(own) > 2 {
			t.Errorf("%s: %d patterns, %d octets allocated", name, len(own), n)
		}
	}
}

// TestLongPatterns bounds what the patterns of a command have together, with the reference
// before each.
func TestLongPatterns(t *testing.T) {
	s, _ := heard(t)
	c := &wire.List{Reference: strings.Repeat("%a", 200)}
	for i := range 1000 {
		c.Patterns = append(c.Patterns, "%b"+strconv.Itoa(i))
	}
	if _, _, err := s.listPatterns(c); err == nil {
		t.Error("they are taken")
	}
	c.Reference = ""
	if own, _, err := s.listPatterns(c); err != nil || len(own) != 1000 {
		t.Errorf("%d, %v", len(own), err)
	}
}

// TestListForNobody holds that a LIST ends that nobody waits for, or that is to end.
func TestListForNobody(t *testing.T) {
	var entries []store.Entry
	var patterns []listPattern
	for i := range 100 {
		entries = append(entries, store.Entry{Name: fmt.Sprintf("%d.%s", i, strings.Repeat("a", 240)), Exists: true})
	}
	for i := range 1000 {
		patterns = append(patterns, listPattern{pattern: newPattern(fmt.Sprintf("%sb%d", strings.Repeat("*a", 100), i))})
	}
	gone := hungUpClient()
	s := &session{conn: newConn(gone), w: wire.NewWriter(io.Discard)}
	s.Limits = &wire.PostAuth
	tree := newTree(entries, "")
	if err := s.listTree(t.Context(), "a", &wire.List{}, tree, patterns); !errors.Is(err, errHungUp) {
		t.Errorf("a client that has hung up: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.listTree(ctx, "a", &wire.List{}, tree, patterns[:1]); err != context.Canceled {
		t.Errorf("a server that stops: %v", err)
	}
	s.w = wire.NewWriter(gone.Conn)
	s.w.Raw("* ")
	s.w.Flush()
	if err := s.listTree(t.Context(), "a", &wire.List{}, tree, patterns[:1]); !fatal(err) {
		t.Errorf("a connection that is broken: %v", err)
	}
}

package lmtp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/confine"
	"mailstead/imapserver/deliver"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/spawn"
)

// TestMain is also the front and the workers of these tests.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "--front" && os.Args[1] != "--worker" {
		os.Exit(m.Run())
	}
	c, err := handoff.NewConn(os.NewFile(spawn.Channel, "parent"))
	if err == nil && os.Args[1] == "--front" {
		err = RunFront(c, "host.example", slog.New(slog.DiscardHandler))
	} else if err == nil {
		err = RunWorker(c, os.Args[2:], slog.New(slog.DiscardHandler))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// service is all the parts, with users that have a Maildir each.
type service struct {
	path  string // of the socket
	dir   string // of the Maildirs
	front int    // process
	stop  func()
}

// begin starts them. Root has the users be of other uids.
func begin(t *testing.T, users ...string) *service {
	t.Helper()
	if os.Getuid() < spawn.MinUID && os.Getuid() != 0 {
		t.Skip("needs a user of their own, or root")
	}
	dir, err := os.MkdirTemp("/tmp", "lmtp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	front := spawn.Identity{UID: os.Getuid(), GID: os.Getgid()}
	var rows []config.Delivery
	for i, u := range users {
		id := front
		if os.Getuid() == 0 {
			id = spawn.Identity{UID: 20000 + i, GID: 20000 + i}
		}
		rows = append(rows, config.Delivery{Name: u, UID: id.UID, GID: id.GID, Maildir: filepath.Join(dir, u)})
		for _, sub := range []string{"", "cur", "new", "tmp", ".Lists", ".Lists/cur", ".Lists/new", ".Lists/tmp"} {
			p := filepath.Join(dir, u, sub)
			os.Mkdir(p, 0o700)
			os.Chown(p, id.UID, id.GID)
		}
	}
	if os.Getuid() == 0 {
		front = spawn.Identity{UID: 19999, GID: 19999}
	}
	var b bytes.Buffer
	if err := config.EncodeDeliveries(&b, config.DeliveryHead{Domains: []string{"host.example"}, Detail: "+"}, rows); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, config.SystemDeliveries), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return serveParts(t, dir, front)
}

func serveParts(t *testing.T, dir string, id spawn.Identity) *service {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	process, err := spawn.Start(spawn.Program, []string{"--front"}, id)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{path: filepath.Join(dir, "socket"), dir: dir, front: process.Process.Pid}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	p := &Parent{Tables: deliver.NewTables(dir), Log: log, Front: process, Spawn: spawn.New(log, spawn.Program, "--worker")}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, l) }()
	s.stop = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// say sends all of it, and gives the codes of the answers.
func (s *service) say(t *testing.T, said string) string {
	t.Helper()
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	go io.WriteString(conn, hello+said+"QUIT\r\n")
	answered, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(codes(string(answered)), "220 250 "), " 221")
}

// mail gives the messages in a mailbox.
func (s *service) mail(t *testing.T, box string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, box, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

func TestParts(t *testing.T) {
	s := begin(t, "alice", "bob")
	text := strings.Repeat("0123456789abcde\r\n", 100_000) // more than a socket holds
	if got := s.say(t, "MAIL FROM:<s@x>\r\nRCPT TO:<alice@host.example>\r\nRCPT TO:<nobody>\r\nRCPT TO:<Bob+lists@host.example>\r\nDATA\r\n"+text+".\r\n"); got != "250 250 550 250 354 250 250" {
		t.Error(got)
	}
	for box, to := range map[string]string{"alice": "alice@host.example", "bob/.Lists": "Bob+lists@host.example"} {
		got := s.mail(t, box)
		if len(got) != 1 {
			t.Fatalf("%s: %d messages", box, len(got))
		}
		head := "Return-Path: <s@x>\nDelivered-To: " + to + "\nReceived: from mx.example by host.example with LMTP id "
		if want := strings.ReplaceAll(text, "\r\n", "\n"); !strings.HasPrefix(got[0], head) || !strings.HasSuffix(got[0], "\n"+want) {
			t.Errorf("%s: %.400q", box, got[0])
		}
	}
	// One of two Maildirs cannot be delivered into: the other has the message.
	if err := os.Rename(filepath.Join(s.dir, "bob/tmp"), filepath.Join(s.dir, "bob/gone")); err != nil {
		t.Fatal(err)
	}
	if got := s.say(t, "MAIL FROM:<>\r\nRCPT TO:<bob>\r\nRCPT TO:<alice>\r\nDATA\r\nx\r\n.\r\n"); got != "250 250 250 354 451 250" {
		t.Error(got)
	}
	if n := len(s.mail(t, "alice")); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestConfined: the front has a list of system calls of its own.
func TestConfined(t *testing.T) {
	if err := confine.Landlock(); err != nil {
		t.Skip(err)
	}
	s := begin(t, "alice")
	s.say(t, "MAIL FROM:<>\r\nRCPT TO:<alice>\r\n")
	lists := func(pid int) (n int) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "\nSeccomp_filters:")
		fmt.Sscan(rest, &n)
		return n
	}
	if front, own := lists(s.front), lists(os.Getpid()); front != own+1 {
		t.Errorf("the front has %d lists, where the test has %d", front, own)
	}
}

// TestManyAtOnce: each message that was acknowledged is there, once.
func TestManyAtOnce(t *testing.T) {
	s := begin(t, "alice", "bob", "carol")
	const clients, messages = 12, 8
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := range messages {
				if got := s.say(t, fmt.Sprintf("MAIL FROM:<>\r\nRCPT TO:<alice>\r\nRCPT TO:<bob>\r\nRCPT TO:<carol>\r\nDATA\r\nSubject: %d-%d\r\n\r\n.\r\n", i, n)); got != "250 250 250 250 354 250 250 250" {
					t.Error(got)
				}
			}
		})
	}
	all.Wait()
	for _, u := range []string{"alice", "bob", "carol"} {
		seen := map[string]int{}
		for _, text := range s.mail(t, u) {
			_, subject, _ := strings.Cut(text, "Subject: ")
			seen[subject]++
		}
		if len(seen) != clients*messages || len(s.mail(t, u)) != clients*messages {
			t.Errorf("%s has %d messages, %d different ones", u, len(s.mail(t, u)), len(seen))
		}
	}
}

// TestStopsInOrder: whoever waits is told to come again.
func TestStopsInOrder(t *testing.T) {
	s := begin(t, "alice")
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, hello+"MAIL FROM:<>\r\nRCPT TO:<alice>\r\nNOOP\r\n")
	heard := make([]byte, 0, 1000)
	for !strings.HasSuffix(string(heard), "done\r\n") {
		piece := make([]byte, 100)
		n, err := conn.Read(piece)
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, piece[:n]...)
	}
	go s.stop()
	rest, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(rest), "421 4.3.2") {
		t.Errorf("%q %v", rest, err)
	}
	s.stop()
}

// TestMaildirMoves: a worker may open what was alice's Maildir when it started. Once
// another one is in its place a worker of its own delivers there, even while a
// client that has named alice keeps the first one waiting.
func TestMaildirMoves(t *testing.T) {
	s := begin(t, "alice")
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, hello+"MAIL FROM:<>\r\nRCPT TO:<alice>\r\n")
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "250 2.1.5 ") {
			break
		}
	}
	const message = "MAIL FROM:<>\r\nRCPT TO:<alice>\r\nDATA\r\nx\r\n.\r\n"
	if got := s.say(t, message); got != "250 250 354 250" { // and so the worker has heard of the client
		t.Error(got)
	}
	alice := filepath.Join(s.dir, "alice")
	if err := os.Rename(alice, alice+".before"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", alice+".before", alice).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if got := s.say(t, message); got != "250 250 354 451" && got != "250 250 354 250" { // the second without Landlock
		t.Error(got)
	}
	if got := s.say(t, message); got != "250 250 354 250" {
		t.Error(got)
	}
}

// TestConnections: whoever comes when there are as many as may be is sent away, and
// the place of one that goes is free again.
func TestConnections(t *testing.T) {
	s := begin(t)
	greeted := func() (net.Conn, string) {
		conn, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return conn, line[:3]
	}
	most := limit.Default().LMTP.Connections
	var first net.Conn
	for n := range most + 1 {
		conn, said := greeted()
		if n == 0 {
			first = conn
		}
		if (said == "220") != (n < most) {
			t.Errorf("connection %d: %s", n, said)
		}
	}
	first.Close()
	said := ""
	for try := 0; said != "220" && try < 100; try++ {
		if _, said = greeted(); said != "220" {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if said != "220" {
		t.Errorf("afterwards: %s", said)
	}
}

// TestNames: what comes from outside means a user or a mailbox, or nothing.
func TestNames(t *testing.T) {
	s := begin(t, "alice")
	for _, name := range []string{"../alice", "alice/../alice", "/etc", "alice\\", "al*"} {
		if got := s.say(t, "MAIL FROM:<>\r\nRCPT TO:<"+name+">\r\n"); got != "250 550" && got != "250 501" {
			t.Errorf("%q: %s", name, got)
		}
	}
	if got := s.say(t, "MAIL FROM:<>\r\nRCPT TO:<alice+../../x>\r\nDATA\r\nx\r\n.\r\n"); got != "250 250 354 250" || len(s.mail(t, "alice")) != 1 {
		t.Errorf("%s: %d messages in INBOX", got, len(s.mail(t, "alice")))
	}
}

// TestLongNames: the longest names that there may be arrive at the worker, whatever they
// are spelt with.
func TestLongNames(t *testing.T) {
	s := begin(t, "alice")
	odd := strings.Repeat("<", 480)
	said := "LHLO " + odd[:255] + "\r\nMAIL FROM:<\"" + odd + "\"@example.org>\r\nRCPT TO:<\"alice+" + odd + "\"@host.example>\r\nDATA\r\nx\r\n.\r\n"
	if got := s.say(t, said); got != "250 250 250 354 250" || len(s.mail(t, "alice")) != 1 {
		t.Errorf("%s: %d messages", got, len(s.mail(t, "alice")))
	}
}

// TestWorkersKilled: whatever becomes of workers, each message that was
// acknowledged is there, whole, and the next one finds a worker.
func TestWorkersKilled(t *testing.T) {
	s := begin(t, "alice", "bob")
	over := make(chan struct{})
	var killer, clients sync.WaitGroup
	killed := 0
	killer.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(30 * time.Millisecond):
				killed += killWorkers()
			}
		}
	})
	body := strings.Repeat("0123456789abcde\r\n", 5000)
	var acknowledged sync.Map
	for i := range 6 {
		clients.Go(func() {
			for n := range 40 {
				subject := fmt.Sprintf("%d-%d.", i, n)
				got := strings.Fields(s.say(t, "MAIL FROM:<>\r\nRCPT TO:<alice>\r\nRCPT TO:<bob>\r\nDATA\r\nSubject: "+subject+"\r\n\r\n"+body+".\r\n"))
				for k, u := range []string{"alice", "bob"} {
					if len(got) == 6 && got[4+k] == "250" {
						acknowledged.Store(u+" "+subject, true)
					}
				}
			}
		})
	}
	clients.Wait()
	close(over)
	killer.Wait()
	there := map[string]bool{}
	for _, u := range []string{"alice", "bob"} {
		for _, text := range s.mail(t, u) {
			_, rest, _ := strings.Cut(text, "Subject: ")
			subject, rest, _ := strings.Cut(rest, "\n")
			if rest != "\n"+strings.ReplaceAll(body, "\r\n", "\n") {
				t.Errorf("message %s of %s is not whole", subject, u)
			}
			there[u+" "+subject] = true
		}
	}
	n := 0
	acknowledged.Range(func(which, _ any) bool {
		if n++; !there[which.(string)] {
			t.Errorf("message %s was acknowledged and is not there", which)
		}
		return true
	})
	t.Logf("%d workers killed, %d of 480 deliveries acknowledged, %d there", killed, n, len(there))
	got := ""
	for try := 0; got != "250 250 354 250" && try < 100; try++ { // the last one that was killed may still be dying
		got = s.say(t, "MAIL FROM:<>\r\nRCPT TO:<alice>\r\nDATA\r\nx\r\n.\r\n")
	}
	if got != "250 250 354 250" {
		t.Errorf("afterwards: %s", got)
	}
}

// killWorkers kills the workers that this process has started, and tells how many.
func killWorkers() (n int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		children, _ := os.ReadFile(list) // or the thread is gone
		for pid := range strings.FieldsSeq(string(children)) {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			id, _ := strconv.Atoi(pid)
			if err == nil && id > 1 && strings.Contains(string(line), "\x00--worker") && syscall.Kill(id, syscall.SIGKILL) == nil {
				n++
			}
		}
	}
	return n
}

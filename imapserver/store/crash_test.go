package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"mailstead/imapserver/maildir"
)

// crashCommand is a command that changes something.
type crashCommand struct {
	name string
	run  func(r *crashRun) error
	anew bool // messages cannot be linked or renamed into another mailbox
}

// otherDevice fails calls as if each mailbox were a file system of its own.
func otherDevice(op maildir.Op) error {
	if op.To != "" && filepath.Base(filepath.Dir(op.Path)) == "cur" && filepath.Dir(op.Path) != filepath.Dir(op.To) {
		return unix.EXDEV
	}
	return nil
}

var crashDate = time.Unix(1_234_567_890, 0)

var crashCommands = []crashCommand{
	{name: "append", run: func(r *crashRun) error { return r.append("INBOX", imap.FlagSeen) }},
	{name: "append-keyword", run: func(r *crashRun) error { return r.append("INBOX", imap.FlagFlagged, "Work") }},
	{name: "store", run: func(r *crashRun) error { return r.v.Store(r.ctx, r.last(2), StoreAdd, []imap.Flag{imap.FlagAnswered}) }},
	{name: "store-keyword", run: func(r *crashRun) error { return r.v.Store(r.ctx, r.last(2), StoreAdd, []imap.Flag{"Later"}) }},
	{name: "store-both", run: func(r *crashRun) error {
		return r.v.Store(r.ctx, r.last(2), StoreSet, []imap.Flag{imap.FlagDraft, "Other"})
	}},
	{name: "expunge", run: func(r *crashRun) error { return r.v.Expunge(r.ctx, nil) }},
	{name: "copy", run: (*crashRun).copy},
	{name: "move", run: (*crashRun).move},
	{name: "copy-anew", run: (*crashRun).copy, anew: true},
	{name: "move-anew", run: (*crashRun).move, anew: true},
	{name: "deliver", run: (*crashRun).deliver},
	{name: "create", run: func(r *crashRun) error { r.n++; return r.a.Create(r.ctx, fmt.Sprintf("New%d", r.n)) }},
	{name: "delete", run: func(r *crashRun) error { return ignore(r.a.Delete(r.ctx, "Old"), ErrNotFound) }},
	{name: "rename", run: func(r *crashRun) error {
		return ignore(r.a.Rename(r.ctx, "Tree", "Moved"), ErrExists)
	}},
	{name: "subscribe", run: func(r *crashRun) error { r.n++; return r.a.Subscribe(r.ctx, fmt.Sprintf("Sub%d", r.n), true) }},
}

// ignore makes a command that has been given before do nothing.
func ignore(err, what error) error {
	if strings.Contains(fmt.Sprint(err), what.Error()) {
		return nil
	}
	return err
}

// crashRun is a session that is watched.
type crashRun struct {
	t   *testing.T
	ctx context.Context
	a   *Account
	v   *View
	n   int
}

func (r *crashRun) append(box string, flags ...imap.Flag) error {
	r.n++
	_, _, err := tryAppend(r.a, box, fmt.Sprintf("Subject: new %d\r\n\r\nbody\r\n", r.n), crashDate, flags...)
	return err
}

func (r *crashRun) copy() error {
	_, err := r.v.Copy(r.ctx, r.last(2), here(r.v, "Box"))
	return err
}

func (r *crashRun) move() error {
	_, err := r.v.Move(r.ctx, r.last(2), here(r.v, "Box"))
	return err
}

// deliver puts a message into new, as a delivery agent that syncs, and shows it.
func (r *crashRun) deliver() error {
	r.n++
	f, err := maildir.OpenFolder(r.a.dir, r.a.ops)
	if err != nil {
		return err
	}
	defer f.Close()
	name := fmt.Sprintf("%d.delivered%d.host", 1_700_000_000+r.n, r.n)
	file, err := f.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	fmt.Fprintf(file, "Subject: delivered %d\n\nbody\n", r.n)
	if err := f.SetTime(maildir.Tmp, name, crashDate); err != nil {
		return err
	}
	if err := r.a.ops.SyncFile(file); err != nil {
		return err
	}
	if err := f.Rename(maildir.Tmp, name, f, maildir.New, name); err != nil {
		return err
	}
	if err := f.Sync(maildir.New); err != nil {
		return err
	}
	_, err = r.v.Poll(r.ctx, true, true)
	return err
}

// last gives the last n messages of the view.
func (r *crashRun) last(n int) []SeqNum {
	var seqs []SeqNum
	for i := max(0, r.v.Len()-n); i < r.v.Len(); i++ {
		seqs = append(seqs, SeqNum(i+1))
	}
	return seqs
}

// crashState is everything that a client can see of an account.
type crashState struct {
	boxes map[string]crashBox
	subs  []string
}

type crashBox struct {
	validity uint32
	next     imap.UID
	modseq   ModSeq
	messages map[imap.UID]crashMessage
}

type crashMessage struct {
	body     string
	date     int64
	system   string
	keywords string
}

// observe looks at the account as a client would.
func observe(t *testing.T, a *Account) crashState {
	t.Helper()
	ctx := context.Background()
	list, err := a.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := crashState{boxes: make(map[string]crashBox)}
	for _, e := range list {
		if e.Subscribed {
			s.subs = append(s.subs, e.Name)
		}
		if !e.Selectable {
			continue
		}
		s.boxes[e.Name] = observeBox(t, a, e.Name)
	}
	return s
}

func observeBox(t *testing.T, a *Account, name string) crashBox {
	t.Helper()
	v, err := a.Select(context.Background(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b := crashBox{v.UIDValidity(), v.UIDNext(), v.HighestModSeq(), make(map[imap.UID]crashMessage)}
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		m := v.At(n)
		cm := crashMessage{body: read(t, v, n), date: m.InternalDate.Unix()}
		for _, f := range m.Flags {
			if f[0] == '\\' {
				cm.system += string(f)
			} else {
				cm.keywords += string(f) + " "
			}
		}
		b.messages[m.UID] = cm
	}
	return b
}

// crashSetup makes the account that every run starts with.
func crashSetup(t *testing.T, dir string) {
	t.Helper()
	a, err := Open(context.Background(), Options{Maildir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, name := range []string{"Box", "Old", "Tree", "Tree.A", "Tree.A.B"} {
		if err := a.Create(context.Background(), name); err != nil {
			t.Fatal(err)
		}
		appendMessage(t, a, name, "Subject: in "+name+"\r\n\r\n", imap.FlagSeen, "Kept")
	}
	for i := range 5 {
		flags := []imap.Flag{imap.FlagSeen}
		if i%2 == 0 {
			flags = append(flags, imap.FlagDeleted, "Kept")
		}
		appendMessage(t, a, "INBOX", fmt.Sprintf("Subject: old %d\r\n\r\n", i), flags...)
	}
	if err := a.Subscribe(context.Background(), "Box", true); err != nil {
		t.Fatal(err)
	}
}

// fastDir is a directory whose syncs cost nothing, where there is one.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// crashRecord runs commands and gives what a disk may hold, and the states that
// a client saw: states[i] after i commands.
func crashRecord(t *testing.T, template string, commands []crashCommand, skip func(maildir.Op) bool) (*crashFS, []crashState) {
	t.Helper()
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, template)
	c := &crashFS{}
	trace := func(maildir.Op) error { return nil }
	r := &crashRun{t: t, ctx: context.Background()}
	var err error
	r.a, err = Open(r.ctx, Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error { return trace(op) }}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.a.Close()
	r.v = selectBox(t, r.a, "INBOX", false)
	states := []crashState{observe(t, r.a)}
	*c = *newCrashFS(t, dir)
	c.skip = skip
	for _, cmd := range commands {
		trace = c.trace
		if cmd.anew {
			trace = func(op maildir.Op) error {
				if err := otherDevice(op); err != nil {
					return err
				}
				return c.trace(op)
			}
		}
		if err := cmd.run(r); err != nil {
			t.Fatalf("%s: %v", cmd.name, err)
		}
		c.ack()
		trace = func(maildir.Op) error { return nil }
		if _, err := r.v.Poll(r.ctx, true, true); err != nil {
			t.Fatal(err)
		}
		states = append(states, observe(t, r.a))
	}
	return c, states
}

// crashCheck opens what a disk holds after a cut, and holds it to what had
// been acknowledged. It gives the first thing that is wrong.
func crashCheck(t *testing.T, dir string, before, after crashState) error {
	t.Helper()
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
	if err != nil {
		return err
	}
	got := observe(t, a)
	if err := crashCompare(got, before, after); err != nil {
		a.Close()
		return err
	}
	_, uid, err := tryAppend(a, "INBOX", mail1, crashDate)
	if err != nil {
		return err
	}
	if uid < max(before.boxes["INBOX"].next, got.boxes["INBOX"].next) {
		return fmt.Errorf("uid %d is given again", uid)
	}
	if err := a.Close(); err != nil {
		return err
	}
	a, err = Open(context.Background(), Options{Maildir: dir, unwatched: true})
	if err != nil {
		return fmt.Errorf("second recovery: %w", err)
	}
	defer a.Close()
	again := observe(t, a)
	delete(again.boxes["INBOX"].messages, uid)
	for name, box := range got.boxes {
		if err := sameBox(again.boxes[name], box); err != nil {
			return fmt.Errorf("second recovery: %s: %w", name, err)
		}
	}
	return nil
}

func sameBox(got, want crashBox) error {
	if got.validity != want.validity || len(got.messages) != len(want.messages) {
		return fmt.Errorf("uidvalidity %d with %d messages, before %d with %d",
			got.validity, len(got.messages), want.validity, len(want.messages))
	}
	for uid, m := range want.messages {
		if got.messages[uid] != m {
			return fmt.Errorf("uid %d is %+v, was %+v", uid, got.messages[uid], m)
		}
	}
	return nil
}

// crashCompare holds a recovered state to the one that was acknowledged and the
// one that the command under way was to lead to.
func crashCompare(got, before, after crashState) error {
	for _, sub := range before.subs {
		if !slices.Contains(got.subs, sub) && slices.Contains(after.subs, sub) {
			return fmt.Errorf("subscription of %s is lost", sub)
		}
	}
	for name, b := range before.boxes {
		g, there := got.boxes[name]
		want, stays := after.boxes[name]
		if !there {
			if stays {
				return fmt.Errorf("mailbox %s is lost", name)
			}
			continue
		}
		if !stays {
			want = b
		}
		if err := compareBox(g, b, want); err != nil {
			return fmt.Errorf("mailbox %s: %w", name, err)
		}
	}
	for name := range got.boxes {
		_, old := before.boxes[name]
		if _, fresh := after.boxes[name]; !old && !fresh {
			return fmt.Errorf("mailbox %s is back", name)
		}
	}
	for name, want := range after.boxes {
		if _, old := before.boxes[name]; old {
			continue
		}
		if g, there := got.boxes[name]; there && len(want.messages) > 0 {
			if err := compareBox(g, want, want); err != nil {
				return fmt.Errorf("mailbox %s: %w", name, err)
			}
		}
	}
	return lostMessages(got, before, after)
}

func compareBox(got, before, after crashBox) error {
	if got.validity != before.validity && before.validity != 0 {
		return fmt.Errorf("uidvalidity is %d, was %d", got.validity, before.validity)
	}
	if got.next < before.next || got.modseq < before.modseq {
		return fmt.Errorf("uidnext %d, highestmodseq %d; were %d, %d", got.next, got.modseq, before.next, before.modseq)
	}
	for uid, b := range before.messages {
		g, there := got.messages[uid]
		a, stays := after.messages[uid]
		switch {
		case !there && stays:
			return fmt.Errorf("message %d is lost", uid)
		case !there:
		case g.body != b.body || g.date != b.date:
			return fmt.Errorf("message %d is %q of %d, was %q of %d", uid, g.body, g.date, b.body, b.date)
		case g.system != b.system && g.system != a.system, g.keywords != b.keywords && g.keywords != a.keywords:
			return fmt.Errorf("message %d has %q %q; had %q %q, was to have %q %q", uid,
				g.system, g.keywords, b.system, b.keywords, a.system, a.keywords)
		}
	}
	for uid, g := range got.messages {
		if _, old := before.messages[uid]; old {
			continue
		}
		if a, there := after.messages[uid]; there && g != a {
			return fmt.Errorf("message %d is half there: %+v, was to be %+v", uid, g, a)
		} else if !there {
			if err := wholeMessage(uid, g, before, after); err != nil {
				return err
			}
		}
	}
	return nil
}

// wholeMessage allows a message that was not acknowledged to be there under
// another UID, which no one has seen, but not in part.
func wholeMessage(uid imap.UID, g crashMessage, before, after crashBox) error {
	if uid < before.next {
		return fmt.Errorf("uid %d was given before", uid)
	}
	for _, a := range after.messages {
		if g == a {
			return nil
		}
	}
	for _, b := range before.messages {
		if g == b {
			return fmt.Errorf("message %+v has the new uid %d", g, uid)
		}
	}
	return fmt.Errorf("message %d is half there: %+v", uid, g)
}

// lostMessages holds that a message being moved is somewhere.
func lostMessages(got, before, after crashState) error {
	count := func(s crashState) map[string]int {
		n := make(map[string]int)
		for _, b := range s.boxes {
			for _, m := range b.messages {
				n[m.body]++
			}
		}
		return n
	}
	g, b, a := count(got), count(before), count(after)
	for body := range b {
		if a[body] > 0 && g[body] == 0 {
			return fmt.Errorf("message %q is in no mailbox", body)
		}
	}
	return nil
}

// crashAll cuts a run everywhere, under every model. It gives what is wrong.
func crashAll(t *testing.T, template string, commands []crashCommand, skip func(maildir.Op) bool) (cuts int, faults []string) {
	t.Helper()
	c, states := crashRecord(t, template, commands, skip)
	var names []string
	for _, cmd := range commands {
		names = append(names, cmd.name)
	}
	dir := fastDir(t)
	for _, cut := range c.cuts {
		for i, m := range crashModels {
			cuts++
			at := filepath.Join(dir, fmt.Sprint(cuts))
			c.write(t, at, cut, m, rand.New(rand.NewPCG(uint64(cut.index), uint64(i))))
			after := states[min(cut.acked+1, len(states)-1)]
			if err := crashCheck(t, at, states[cut.acked], after); err != nil {
				faults = append(faults, fmt.Sprintf("%s; %v; %s: %v", strings.Join(names, ", "), cut, m.name, err))
			}
			os.RemoveAll(at)
		}
	}
	return cuts, faults
}

// crashTemplate makes what all runs start with, once.
func crashTemplate(t *testing.T) string {
	dir := filepath.Join(fastDir(t), "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	crashSetup(t, dir)
	return dir
}

// TestCrash cuts the power between any two calls of every command, and of every
// pair of commands if MAILSTEAD_CRASH is set; else of some pairs.
func TestCrash(t *testing.T) {
	t.Parallel()
	template := crashTemplate(t)
	cuts := 0
	run := func(commands ...crashCommand) {
		n, faults := crashAll(t, template, commands, nil)
		cuts += n
		for _, f := range faults {
			t.Error(f)
		}
	}
	for _, cmd := range crashCommands {
		run(cmd)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, first := range crashCommands {
		for _, second := range crashCommands {
			if os.Getenv("MAILSTEAD_CRASH") != "" || rnd.IntN(40) == 0 && !testing.Short() {
				run(first, second)
			}
		}
	}
	t.Logf("%d states of the disk", cuts)
}

// TestRowsAhead looks at the index at the moments when it is not as the
// directories are: whoever starts from there must look at them.
func TestRowsAhead(t *testing.T) {
	dir := newMaildir(t)
	var a *Account
	seen := make(map[string]bool)
	moment := ""
	ops := &maildir.Ops{Trace: func(op maildir.Op) error {
		if moment == "" || op.Call != strings.Fields(moment)[0] || !strings.Contains(op.Path+op.To, "/cur") {
			return nil
		}
		seen[moment] = true
		return a.index.view(func(conn *sqlite.Conn) error {
			row, ok, err := findMailbox(conn, ".")
			if err != nil || !ok || row.curTime != 0 || row.newTime != 0 {
				t.Errorf("%s: times %d, %d are trusted; %v", moment, row.curTime, row.newTime, err)
			}
			return nil
		})
	}}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	// settle has the directories trusted, and the index say so.
	settle := func() {
		time.Sleep(2 * clockTick)
		v := selectBox(t, a, "INBOX", false)
		v.mb.mu.Lock()
		defer v.mb.mu.Unlock()
		row := v.mb.row
		if err := v.mb.write(&row, v.mb.snap.Load(), func(*sqlite.Conn) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if row.curTime == 0 || row.newTime == 0 {
			t.Fatalf("times %d, %d are not trusted", row.curTime, row.newTime)
		}
	}
	settle()
	moment = "rename of an append with keywords"
	appendMessage(t, a, "INBOX", mail1, "Work", imap.FlagDeleted)
	moment = ""
	settle()
	moment = "syncdir of an expunge"
	if err := selectBox(t, a, "INBOX", false).Expunge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	moment = ""
	if len(seen) != 2 {
		t.Errorf("seen were %v", seen)
	}
}

// TestCrashFirstContact kills the process at every call of a first contact, and
// right after: what was shown then stays.
func TestCrashFirstContact(t *testing.T) {
	t.Parallel()
	fixture := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, fixture, filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir"))
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, fixture)
	copies := fastDir(t)
	var mu sync.Mutex // Courier's files are written beside
	n, over := 0, false
	var done []int // how many mailboxes had been shown at each copy
	shown := crashState{boxes: make(map[string]crashBox)}
	snap := func(maildir.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil
		}
		n++
		done = append(done, len(shown.boxes))
		copyTree(t, filepath.Join(copies, fmt.Sprint(n), "Maildir"), dir)
		return nil
	}
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: snap}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	boxes := []string{"INBOX", "Never", "Sent"}
	for _, name := range boxes {
		box := observeBox(t, a, name)
		mu.Lock()
		shown.boxes[name] = box
		mu.Unlock()
	}
	snap(maildir.Op{})
	mu.Lock()
	over = true
	mu.Unlock()
	for i := range n {
		at := filepath.Join(copies, fmt.Sprint(i+1), "Maildir")
		b, err := Open(context.Background(), Options{Maildir: at, unwatched: true})
		if err != nil {
			t.Errorf("copy %d: %v", i, err)
			continue
		}
		for k, name := range boxes {
			got, want := observeBox(t, b, name), shown.boxes[name]
			if len(got.messages) != len(want.messages) {
				t.Errorf("copy %d of %d: %s has %d messages, want %d", i, n, name, len(got.messages), len(want.messages))
			}
			if k >= done[i] {
				continue // no one has seen its UIDs
			}
			if err := sameBox(got, want); err != nil {
				t.Errorf("copy %d of %d: %s: %v", i, n, name, err)
			}
		}
		b.Close()
	}
	if n < 5 {
		t.Errorf("%d copies", n)
	}
}

// TestCrashHasTeeth leaves out the syncs of one kind at a time, as if the code
// had forgotten them, and holds that this is found.
func TestCrashHasTeeth(t *testing.T) {
	t.Parallel()
	template := crashTemplate(t)
	for _, tt := range []struct {
		name     string
		skip     func(op maildir.Op) bool
		commands []string
	}{
		{"message", func(op maildir.Op) bool { return op.Call == "sync" && strings.Contains(op.Path, "/tmp/") }, []string{"append"}},
		{"cur", func(op maildir.Op) bool { return op.Call == "syncdir" && filepath.Base(op.Path) == "cur" }, []string{"append", "store", "expunge", "copy", "move"}},
		{"index", func(op maildir.Op) bool { return strings.HasSuffix(op.Path, "-wal") }, []string{"append-keyword", "store-keyword", "copy", "move", "rename"}},
		{"top", func(op maildir.Op) bool { return op.Call == "syncdir" && filepath.Base(op.Path) == "Maildir" }, []string{"create", "delete", "rename", "subscribe"}},
		{"subscriptions", func(op maildir.Op) bool { return op.Call == "sync" && strings.Contains(op.Path, "subscribed") }, []string{"subscribe"}},
		{"new folder", func(op maildir.Op) bool { return op.Call == "syncdir" && strings.Contains(op.Path, makingDir) }, []string{"create"}},
	} {
		for _, name := range tt.commands {
			i := slices.IndexFunc(crashCommands, func(c crashCommand) bool { return c.name == name })
			if _, faults := crashAll(t, template, crashCommands[i:i+1], tt.skip); len(faults) == 0 {
				t.Errorf("%s without the sync of %s: nothing is wrong", name, tt.name)
			}
		}
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

	closes bool // the account is opened again after it
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

// crashRare are commands that change something else than the nine, or in another
// way, each for what only it has to make durable.
var crashRare = []crashCommand{
	{name: "use", run: func(r *crashRun) error { return r.a.Create(r.ctx, "Posted", imap.MailboxAttrSent) }},
	{name: "rights", run: func(r *crashRun) error { return r.rights("Box") }},
	{name: "rights-parent", run: func(r *crashRun) error { return r.rights("INBOX") }},
	{name: "annotate", run: func(r *crashRun) error { return r.annotate("Box", "kept") }},
	{name: "annotate-again", run: func(r *crashRun) error { return r.annotate("Box", "another") }},
	{name: "annotate-inbox", run: func(r *crashRun) error { return r.annotate("INBOX", "kept") }},
	{name: "unstore", run: func(r *crashRun) error {
		return r.v.Store(r.ctx, r.last(2), StoreRemove, []imap.Flag{imap.FlagAnswered})
	}},
	{name: "create-tree", run: func(r *crashRun) error { return ignore(r.a.Create(r.ctx, "Tree"), ErrExists) }},
	{name: "rename-inbox", run: func(r *crashRun) error { return r.a.Rename(r.ctx, "INBOX", "Archive") }},
	{name: "quota", run: func(r *crashRun) error { return r.a.SetQuota(Limits{Octets: 1 << 30}) }},
	{name: "expunge-new", run: func(r *crashRun) error { return r.fromNew(func() error { return r.v.Expunge(r.ctx, nil) }) }},
	{name: "move-new-anew", anew: true, run: func(r *crashRun) error { return r.fromNew(r.move) }},
	// What the power cut makes of a message that nobody has synced is not ours to
	// answer for, until we have acknowledged a copy.
	{name: "unsynced-copy", run: func(r *crashRun) error {
		r.c.hush(true)
		defer r.c.hush(false)
		return errors.Join(r.deliverUnsynced(), r.copyLast())
	}},
	{name: "delete-kept", run: func(r *crashRun) error { r.a.SetKeep(time.Hour); return r.a.Delete(r.ctx, "Old") }},
	{name: "delete-kept-unsynced", run: func(r *crashRun) error {
		r.c.hush(true)
		defer r.c.hush(false)
		r.putUnsynced(filepath.Join(r.a.dir, ".Old", "cur", "1700000008.unsynced.host:2,"), true)
		r.putUnsynced(filepath.Join(r.a.dir, ".Old", "new", "1700000009.unsynced.host"), false)
		r.a.SetKeep(time.Hour)
		return r.a.Delete(r.ctx, "Old")
	}},
	{name: "checkpoint", run: func(r *crashRun) error {
		return r.a.index.view(func(conn *sqlite.Conn) error {
			_, err := pragmaInt(conn, "PRAGMA wal_checkpoint(RESTART)")
			return err
		})
	}},
	{name: "close", run: func(r *crashRun) error { return r.a.Close() }, closes: true},
	{name: "handback", run: func(r *crashRun) error {
		_, err := r.a.Handback(r.ctx, false)
		return errors.Join(err, r.a.Close())
	}, closes: true},
}

func (r *crashRun) rights(box string) error {
	return r.a.ChangeACL(r.ctx, box, func(acl ACL) (ACL, error) {
		return append(slices.Clone(acl), maildir.Grant{ID: "user=bob", Rights: AllRights}), nil
	})
}

func (r *crashRun) annotate(box, comment string) error {
	return r.a.SetMetadata(r.ctx, box, []Annotation{{Entry: "/comment", Value: []byte(comment), Size: len(comment)}})
}

// fromNew runs what removes a message that is in new: a session that only looks
// has found it there.
func (r *crashRun) fromNew(remove func() error) error {
	looks, err := r.a.Select(r.ctx, "INBOX", true)
	if err != nil {
		return err
	}
	defer looks.Close()
	deliver(r.t, r.a.dir, "1700000009.new.host:2,T", "Subject: in new\n\nbody\n")
	r.c.deliveredDurably(filepath.Join(r.a.dir, "new", "1700000009.new.host:2,T"))
	if _, err := looks.Poll(r.ctx, true, true); err != nil {
		return err
	}
	if _, err := r.v.Poll(r.ctx, true, false); err != nil {
		return err
	}
	r.c.shown(r)
	return remove()
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
	c   *crashRecorded
	o   Options
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

func (r *crashRun) copyLast() error {
	_, err := r.v.Copy(r.ctx, r.last(1), here(r.v, "Box"))
	return err
}

func (r *crashRun) move() error {
	_, err := r.v.Move(r.ctx, r.last(2), here(r.v, "Box"))
	return err
}

// deliverUnsynced puts a message into cur, as one who syncs only the directory,
// and shows it.
func (r *crashRun) deliverUnsynced() error {
	r.putUnsynced(filepath.Join(r.a.dir, "cur", "1700000008.unsynced.host:2,"), true)
	_, err := r.v.Poll(r.ctx, true, true)
	return err
}

// putUnsynced puts a message there, as one who syncs only the directory, or nothing at all.
func (r *crashRun) putUnsynced(name string, directory bool) {
	put(r.t, name, "Subject: unsynced\n\nbody\n")
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.create(name, false)
	r.c.see(r.c.nodes[r.c.find(r.c.tree, name)], name)
	if directory {
		r.c.syncDir(filepath.Dir(name))
	}
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

// crashSetup makes the account that every run starts with.
func crashSetup(t *testing.T, dir string) {
	t.Helper()
	a, err := Open(context.Background(), Options{Maildir: dir, anyFile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, name := range []string{"Box", "Old", "Tree", "Tree.A", "Tree.A.B", "Only.Kid"} {
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

// crashTemplate makes what all runs start with, once.
func crashTemplate(t *testing.T) string {
	dir := filepath.Join(fastDir(t), "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	crashSetup(t, dir)
	return dir
}

// crashStart is what a run begins with.
type crashStart struct {
	template string
	fromOpen bool       // the opening of the account is the first command
	before   crashState // of fromOpen: what a client has seen before
	after    crashState // and what the command was to lead to that was under way
	courier  bool       // Courier's files are kept
	ours     bool       // each UIDVALIDITY is one that we have given
	relaxed  bool       // less is promised
}

func (s crashStart) options(dir string) Options {
	return Options{Maildir: dir, unwatched: true, anyFile: true, Courier: s.courier, courierDelay: time.Hour}
}

// crashRecorded is a run with what a disk may hold during it.
type crashRecorded struct {
	*crashFS
	start  crashStart
	whole  map[string]map[string]bool // what files have held, by name
	names  string
	states []crashState // as a client saw them: states[i] after i commands
}

// recordCrash runs commands on a copy of a tree.
func recordCrash(t *testing.T, start crashStart, commands ...crashCommand) *crashRecorded {
	t.Helper()
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, start.template)
	c := &crashRecorded{start: start}
	trace := func(maildir.Op) error { return nil }
	w := &sqliteWatch{root: dir, before: c.beforeSQLite, after: func(op sqliteOp) {
		if c.crashFS != nil {
			c.sqlite(op)
		}
	}}
	watchSQLite(t, w)
	defer unwatchSQLite(w)
	begin := func() {
		c.crashFS = newCrashFS(t, dir)
		c.moment(maildir.Op{Call: "the first"})
		trace = c.trace
	}
	if start.fromOpen {
		begin()
		c.states = append(c.states, start.before)
	}
	o := start.options(dir)
	o.ops = &maildir.Ops{Trace: func(op maildir.Op) error { return trace(op) }}
	r := &crashRun{t: t, ctx: context.Background(), o: o, c: c}
	r.open()
	defer func() { r.a.Close() }()
	state := observe(t, r.a)
	if start.fromOpen {
		c.ack()
	} else {
		begin()
	}
	c.states = append(c.states, state)
	for _, cmd := range commands {
		c.command(t, r, cmd, &trace)
	}
	c.hush(true) // what Close does is no moment
	return c
}

// oracle compares what was recovered with what was acknowledged before, so many
// commands, and what was under way.
func (c *crashRecorded) oracle(acked int) func(got, before, after crashState) error {
	if !c.start.relaxed {
		return crashCompare
	}
	given := make(map[string]map[imap.UID]string)
	for _, s := range c.states[:acked+1] {
		for name, box := range s.boxes {
			if given[name] == nil {
				given[name] = make(map[imap.UID]string)
			}
			for uid, m := range box.messages {
				given[name][uid] = m.body
			}
		}
	}
	return func(got, before, after crashState) error { return compareRelaxed(got, before, after, given) }
}

// shown notes that a client has seen all that there is.
func (c *crashRecorded) shown(r *crashRun) {
	c.ack()
	c.hush(true)
	c.states = append(c.states, observe(r.t, r.a))
	c.hush(false)
}

func (r *crashRun) open() {
	r.t.Helper()
	var err error
	if r.a, err = Open(r.ctx, r.o); err != nil {
		r.t.Fatal(err)
	}
	r.a.SetRelaxed(r.c.start.relaxed)
	r.v = selectBox(r.t, r.a, "INBOX", false)
}

// deliveredDurably takes in a message that another program has put into place.
func (c *crashRecorded) deliveredDurably(path string) {
	if c == nil || c.crashFS == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.create(path, false)
	c.sync(path)
	c.syncDir(filepath.Dir(path))
}

func (c *crashRecorded) beforeSQLite(op sqliteOp) error {
	if c.crashFS != nil && op.call != "open" && op.call != "read" {
		c.moment(maildir.Op{Call: op.call, Path: op.path})
	}
	return nil
}

// command runs one, and looks what a client sees then.
func (c *crashRecorded) command(t *testing.T, r *crashRun, cmd crashCommand, trace *func(maildir.Op) error) {
	t.Helper()
	if cmd.anew {
		*trace = func(op maildir.Op) error {
			if err := otherDevice(op); err != nil {
				return err
			}
			return c.trace(op)
		}
	}
	if err := cmd.run(r); err != nil {
		t.Fatalf("%s: %v", cmd.name, err)
	}
	*trace = c.trace
	c.ack()
	c.hush(true)
	var exact map[string]string
	if cmd.closes {
		exact = courierFilesOf(t, r.a.dir)
		r.open()
	}
	if _, err := r.v.Poll(r.ctx, true, true); err != nil {
		t.Fatal(err)
	}
	state := observe(t, r.a)
	state.exact = exact
	c.states = append(c.states, state)
	c.hush(false)
	c.names += ", " + cmd.name
}

// crashCount is what has been looked at.
type crashCount struct {
	states, disks int
	first         bool // the first fault is enough
	acked         bool // only the moments at which nothing is under way are cut at
}

// check cuts a run at every moment from the one on at which so many commands
// were acknowledged, under every model, and holds each disk that may come of it to
// what was acknowledged. It gives what is wrong.
func (c *crashRecorded) check(t *testing.T, from int, n *crashCount) (faults []string) {
	t.Helper()
	dir := fastDir(t)
	seen := make(map[[2]uint64]bool)
	cuts := slices.Clone(c.cuts)
	if n.first { // most that may be wrong is so in the end
		slices.Reverse(cuts)
	}
	for _, cut := range cuts {
		if cut.acked < from || n.acked && cut.next.Call != "the next" {
			continue
		}
		for i, m := range crashModels {
			seeds := m.seeds
			if testing.Short() {
				seeds = 1
			}
			for seed := range seeds {
				n.states++
				disk := c.disk(cut, m, rand.New(rand.NewPCG(uint64(cut.index), uint64(i*1000+seed))))
				key := [2]uint64{uint64(cut.acked), diskDigest(disk)}
				if seen[key] {
					continue
				}
				seen[key] = true
				n.disks++
				at := filepath.Join(dir, fmt.Sprint(n.disks))
				writeDisk(t, at, disk)
				after := c.states[min(cut.acked+1, len(c.states)-1)]
				if c.start.fromOpen && cut.acked == 0 {
					after = c.start.after
				}
				err := c.sidecars(disk, c.states[cut.acked])
				if err == nil && cut.next.Call == "the next" {
					err = sameFiles(disk, c.states[cut.acked].exact)
				}
				if err == nil {
					err = crashCheck(t, c.start.options(at), c.oracle(cut.acked), c.states[cut.acked], after)
				}
				if err != nil {
					faults = append(faults, fmt.Sprintf("%s; %v; %s, seed %d: %v", c.names, cut, m.name, seed, err))
				}
				os.RemoveAll(at)
				if n.first && len(faults) > 0 {
					return faults
				}
			}
		}
	}
	os.RemoveAll(dir)
	return faults
}

// crashBasic are the nine commands of which all sequences up to three are tried.
var crashBasic = []string{"append", "copy", "move", "store", "expunge", "create", "rename", "delete", "subscribe"}

func named(names ...string) (list []crashCommand) {
	for _, name := range names {
		all := slices.Concat(crashCommands, crashRare, crashKept)
		i := slices.IndexFunc(all, func(c crashCommand) bool { return c.name == name })
		list = append(list, all[i])
	}
	return list
}

// TestCrash cuts the power between any two calls of every command, and of pairs
// and triples: all pairs, and all triples of the nine, if MAILSTEAD_CRASH is set;
// else of some. What a shorter sequence has shown is not tried again.
func TestCrash(t *testing.T) {
	t.Parallel()
	template := crashTemplate(t)
	count, sequences := crashCount{}, 0
	run := func(commands ...crashCommand) {
		sequences++
		for _, f := range recordCrash(t, crashStart{template: template, ours: true}, commands...).check(t, len(commands)-1, &count) {
			t.Error(f)
		}
	}
	for i, cmd := range append(slices.Clone(crashCommands), crashRare...) {
		if cmd.name != "handback" && (!testing.Short() || i%3 == 0) { // for that one Courier's files are kept
			run(cmd)
		}
	}
	all := os.Getenv("MAILSTEAD_CRASH") != ""
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, first := range crashCommands {
		for _, second := range crashCommands {
			if all || rnd.IntN(40) == 0 && !testing.Short() {
				run(first, second)
			}
		}
	}
	for _, first := range crashBasic {
		for _, second := range crashBasic {
			for _, third := range crashBasic {
				if all || rnd.IntN(150) == 0 && !testing.Short() {
					run(named(first, second, third)...)
				}
			}
		}
	}
	t.Logf("%d sequences, %d states, %d different disks", sequences, count.states, count.disks)
}

// TestCrashHandback cuts the power after a tree has gone back to Courier, in the one case
// with other names for directories: Courier's files are there to the byte. With
// MAILSTEAD_CRASH it is cut in between as well.
func TestCrashHandback(t *testing.T) {
	t.Parallel()
	count := crashCount{acked: os.Getenv("MAILSTEAD_CRASH") == ""}
	starts := []crashStart{{template: crashTemplate(t), ours: true, courier: true}, {template: crashNamed(t, ".B&APw-cher", ".Plain"), courier: true}}
	if count.acked { // in between, what this becomes is a name of old, too
		starts = append(starts, crashStart{template: crashNamed(t, ".Q&-AOk-A"), courier: true})
	}
	for _, start := range starts {
		for _, f := range recordCrash(t, start, named("handback")...).check(t, 0, &count) {
			t.Error(f)
		}
	}
	t.Logf("%d states, %d different disks", count.states, count.disks)
}

// TestCrashFromNothing cuts the power while an account is made, and at its first
// command after.
func TestCrashFromNothing(t *testing.T) {
	t.Parallel()
	template := crashNothing(t)
	count := crashCount{}
	names := []string{"append-keyword", "store-keyword", "create", "subscribe"}
	if testing.Short() {
		names = names[:1]
	}
	for _, name := range names {
		for _, f := range recordCrash(t, crashStart{template: template, fromOpen: true}, named(name)...).check(t, 0, &count) {
			t.Error(f)
		}
	}
	t.Logf("%d states, %d different disks", count.states, count.disks)
}

// crashTaken is a small tree that another server has left.
func crashTaken(t *testing.T, fixture, folder string) string {
	dir := filepath.Join(fastDir(t), "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(untar(t, fixture+".tar.gz"), "Maildir")
	copyTree(t, filepath.Join(dir, folder), filepath.Join(from, folder))
	for _, name := range []string{maildir.DovecotSubscriptionsFile} {
		if data, err := os.ReadFile(filepath.Join(from, name)); err == nil {
			put(t, filepath.Join(dir, name), string(data))
		}
	}
	return dir
}

// crashNamed makes a tree with names in the encoding of old, which Courier 5 would
// not find.
func crashNamed(t *testing.T, folders ...string) string {
	dir := filepath.Join(fastDir(t), "Maildir")
	subscribed := ""
	for _, folder := range append([]string{""}, folders...) {
		if err := maildir.MakeTree(filepath.Join(dir, folder), folder != ""); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(folder, "&") {
			subscribed += "INBOX" + folder + "\n"
		}
	}
	put(t, filepath.Join(dir, maildir.SubscriptionsFile), subscribed)
	return dir
}

// crashNothing makes a Maildir that no server has seen, with a message.
func crashNothing(t *testing.T) string {
	dir := filepath.Join(fastDir(t), "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	deliver(t, dir, "1.old", "Subject: old\n\nbody\n")
	return dir
}

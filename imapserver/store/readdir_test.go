package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// Who is at work on the mailbox of TestReaddirRace.
const (
	raceMessages   = 20_000
	raceDeliverers = 4
	raceRenamers   = 4
	raceSessions   = 50
)

// TestReaddirRace has other programs deliver into a mailbox of 20,000 messages,
// change flags in it and remove messages from it, as fast as they can, while
// fifty sessions work on it. Nothing may be told as gone that nobody has removed,
// no UID given twice or changed, and no delivery lost. With directories read as
// os.ReadDir reads them the same run must fail. MAILSTEAD_RACE is how long it
// goes on for each file system.
func TestReaddirRace(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("works for a minute, as root: set MAILSTEAD_E2E=1")
	}
	took, kinds := 20*time.Second, []string{"tmpfs", "ext4"}
	if s := os.Getenv("MAILSTEAD_RACE"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("MAILSTEAD_RACE: %v", err)
		}
		took, kinds = d, append(kinds, "xfs", "btrfs")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			r := newRace(t, fileSystem(t, kind), &maildir.Ops{})
			r.run(took)
			t.Log(r.sum())
			r.settle()
		})
	}
	t.Run("control", func(t *testing.T) {
		r := newRace(t, fileSystem(t, "ext4"), &maildir.Ops{Pieces: true})
		r.any = true
		r.run(took)
		t.Log(r.sum())
		if len(r.faults) == 0 {
			t.Fatal("reading in pieces has lost nothing: the run would not find that out")
		}
		t.Logf("found in the control: %s", r.faults[0])
	})
}

// fileSystem mounts a new one.
func fileSystem(t *testing.T, kind string) string {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	at := t.TempDir()
	if kind == "tmpfs" {
		run("mount", "-t", "tmpfs", "-o", "nr_inodes=2000000,size=8G", "tmpfs", at)
	} else {
		image := filepath.Join(t.TempDir(), "image")
		run("truncate", "-s", "8G", image)
		run("mkfs."+kind, "-q", image)
		run("mount", "-o", "loop", image, at)
	}
	t.Cleanup(func() { run("umount", at) })
	return at
}

// race is one such run. A message goes by the base of its file's name.
type race struct {
	t   *testing.T
	dir string
	a   *Account
	any bool // one fault is enough

	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	faults  []string
	bases   map[imap.UID]string
	uids    map[string]imap.UID
	removed map[string]bool // before it is done
	there   map[string]bool // delivered, before it is done

	doomed                                   [2]chan string // to be removed by unlink, and by expunge
	delivered, renamed, polls, stores, reads atomic.Int64
}

func newRace(t *testing.T, at string, ops *maildir.Ops) *race {
	r := &race{
		t: t, dir: filepath.Join(at, "Maildir"), doomed: [2]chan string{make(chan string, 1<<20), make(chan string, 1<<20)},
		bases: map[imap.UID]string{}, uids: map[string]imap.UID{}, removed: map[string]bool{}, there: map[string]bool{},
	}
	if err := maildir.MakeTree(r.dir, false); err != nil {
		t.Fatal(err)
	}
	for i := range raceMessages {
		base := fmt.Sprintf("%d.host", i+1)
		put(t, filepath.Join(r.dir, "cur", base+":2,"), "Subject: "+base+"\n\n")
		r.there[base] = true
	}
	r.a = openWith(t, Options{Maildir: r.dir, ops: ops})
	return r
}

// raceLooks is how often sessions have looked, at least, before a run has shown
// anything.
const raceLooks = 200

// run lets everyone work for so long, on a busy machine for longer.
func (r *race) run(took time.Duration) {
	r.ctx, r.stop = context.WithCancel(context.Background())
	defer r.stop()
	go func() {
		time.Sleep(took)
		for r.polls.Load() < raceLooks && r.ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		r.stop()
	}()
	var all sync.WaitGroup
	for n := range raceDeliverers {
		all.Go(func() { r.deliver(n) })
	}
	for n := range raceRenamers {
		all.Go(func() { r.rename(n) })
	}
	all.Go(r.unlink)
	all.Go(r.expunge)
	for range raceSessions {
		all.Go(r.session)
	}
	all.Wait()
}

func (r *race) sum() string {
	return fmt.Sprintf("%d deliveries, %d removed, %d flags changed by others, %d by sessions; %d looks, %d messages read",
		r.delivered.Load(), len(r.removed), r.renamed.Load(), r.stores.Load(), r.polls.Load(), r.reads.Load())
}

func (r *race) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) < 20 {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
	if r.any {
		r.stop()
	}
}

// deliver is a mail server: fifty messages a second.
func (r *race) deliver(n int) {
	for i := 0; r.ctx.Err() == nil; i++ {
		base := fmt.Sprintf("2000000000.d%dn%d.host", i, n)
		r.mu.Lock()
		r.there[base] = true
		r.mu.Unlock()
		deliver(r.t, r.dir, base, "Subject: "+base+"\n\n")
		if i%20 != 0 {
			r.doomed[n%2] <- base
		}
		r.delivered.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
}

// rename is a mail client that changes the flags of its share of the messages
// that were there first: of all in turn, and of a few over and over.
func (r *race) rename(n int) {
	const few = 50
	for k := 0; r.ctx.Err() == nil; k++ {
		i := k / 4 // of all
		if k%4 > 0 {
			i = k % few
		}
		i = i*raceRenamers%raceMessages + n + 1
		name := filepath.Join(r.dir, "cur", fmt.Sprintf("%d.host:2,", i))
		// Where a session has set a flag on it, it stays as it is.
		err := unix.Rename(name, name+"S")
		if err == unix.ENOENT {
			err = unix.Rename(name+"S", name)
		}
		if err == nil {
			r.renamed.Add(1)
		} else if err != unix.ENOENT {
			r.fault("rename: %v", err)
		}
		if k%20 == 0 { // or nobody else would come to work
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// unlink is a program that removes half of those delivered, by whatever name
// each of them has.
func (r *race) unlink() {
	for {
		var base string
		select {
		case <-r.ctx.Done():
			return
		case base = <-r.doomed[0]:
		}
		r.remove(base)
		for gone := false; !gone && r.ctx.Err() == nil; {
			for _, name := range []string{"new/" + base, "cur/" + base + ":2,"} {
				gone = gone || os.Remove(filepath.Join(r.dir, name)) == nil
			}
		}
	}
}

// expunge is a session that removes the other half.
func (r *race) expunge() {
	v := r.open()
	defer v.Close()
	for r.ctx.Err() == nil {
		doomed := map[string]bool{}
		for len(r.doomed[1]) > 0 {
			doomed[<-r.doomed[1]] = true
		}
		r.look(v)
		var seqs []SeqNum
		for n := range v.Len() {
			if base := v.told.at(n).base; doomed[base] {
				r.remove(base)
				delete(doomed, base)
				seqs = append(seqs, SeqNum(n+1))
			}
		}
		for base := range doomed { // not seen yet
			r.doomed[1] <- base
		}
		r.check("store", v.Store(r.ctx, seqs, StoreAdd, []imap.Flag{imap.FlagDeleted}))
		r.check("expunge", v.Expunge(r.ctx, nil))
		r.pause(200)
	}
}

// session is one of the fifty.
func (r *race) session() {
	v := r.open()
	defer func() { v.Close() }()
	for r.ctx.Err() == nil {
		n := SeqNum(1 + rand.IntN(v.Len()))
		was := v.told.at(int(n) - 1)
		switch k := rand.IntN(20); {
		case k < 12:
			r.look(v)
		case k < 15 && int(was.uid) <= raceMessages:
			op := []StoreOp{StoreAdd, StoreRemove}[rand.IntN(2)]
			r.check("store", v.Store(r.ctx, []SeqNum{n}, op, []imap.Flag{imap.FlagFlagged}))
			r.stores.Add(1)
		case k < 19:
			data, err := v.Read(r.ctx, n)
			if !errors.Is(err, ErrExpunged) || !r.isRemoved(was.base) {
				r.check("read "+was.base, err)
			}
			if err == nil && string(data) != "Subject: "+was.base+"\r\n\r\n" {
				r.fault("message %s reads %q", was.base, data)
			}
			r.reads.Add(1)
		default:
			v.Close()
			v = r.open()
		}
		r.pause(200)
	}
}

// remove notes that a message is about to be removed.
func (r *race) remove(base string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed[base] = true
}

func (r *race) isRemoved(base string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removed[base]
}

// pause is what a session does most of the time.
func (r *race) pause(most int) {
	select {
	case <-r.ctx.Done():
	case <-time.After(time.Duration(rand.IntN(most)) * time.Millisecond):
	}
}

func (r *race) check(what string, err error) {
	if err != nil && r.ctx.Err() == nil {
		r.fault("%s: %v", what, err)
	}
}

func (r *race) open() *View {
	v, err := r.a.Select(context.Background(), "INBOX", false)
	if err != nil {
		panic(err)
	}
	r.compare(v, 0)
	return v
}

// look polls, and holds what is told against what is so.
func (r *race) look(v *View) {
	known := v.UIDNext()
	updates, err := v.Poll(context.Background(), true, true)
	r.check("poll", err)
	r.polls.Add(1)
	for _, u := range updates {
		if u.Kind == UpdateExpunge {
			r.gone(u.UID)
		}
	}
	r.compare(v, known)
}

func (r *race) gone(uid imap.UID) {
	r.mu.Lock()
	base := r.bases[uid]
	removed := r.removed[base]
	r.mu.Unlock()
	if !removed {
		r.fault("uid %d, %s, is told as gone", uid, base)
	}
}

// compare holds the UIDs that a view has from one on against those that anyone
// has seen.
func (r *race) compare(v *View, from imap.UID) {
	first, _ := v.Seq(from)
	r.mu.Lock()
	var faults []string
	for n := int(max(first, 1)); n <= v.Len(); n++ {
		m := v.told.at(n - 1)
		if base, ok := r.bases[m.uid]; ok && base != m.base {
			faults = append(faults, fmt.Sprintf("uid %d is %s and %s", m.uid, base, m.base))
		}
		if uid, ok := r.uids[m.base]; ok && uid != m.uid {
			faults = append(faults, fmt.Sprintf("%s has the uids %d and %d", m.base, uid, m.uid))
		}
		if !r.there[m.base] {
			faults = append(faults, m.base+" was never delivered")
		}
		r.bases[m.uid], r.uids[m.base] = m.base, m.uid
	}
	r.mu.Unlock()
	for _, f := range faults {
		r.fault("%s", f)
	}
}

// settle holds, once all is quiet, the messages of a session, and of one after
// the account was opened anew, against the files.
func (r *race) settle() {
	on := map[string]bool{}
	for _, name := range append(files(r.t, r.dir, "cur"), files(r.t, r.dir, "new")...) {
		base, _ := maildir.SplitName(name)
		on[base] = true
	}
	for base := range r.there {
		if !on[base] && !r.removed[base] {
			r.t.Errorf("the file of %s is gone", base)
		}
	}
	r.ctx = context.Background()
	for range 2 {
		v := r.open()
		r.look(v)
		time.Sleep(missingWait)
		r.look(v)
		if v.Len() != len(on) {
			r.t.Errorf("%d messages, %d files", v.Len(), len(on))
		}
		for n := range v.Len() {
			if base := v.told.at(n).base; !on[base] {
				r.t.Errorf("%s has no file", base)
			}
		}
		v.Close()
		r.a = reopen(r.t, r.a)
	}
	for _, fault := range r.faults {
		r.t.Error(fault)
	}
}

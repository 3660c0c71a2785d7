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
	"github.com/google/go-cmp/cmp"
)

// model is what two mailboxes should have, in the simplest form.
type model struct {
	t     *testing.T
	dir   string
	a     *Account
	rnd   *rand.Rand
	boxes map[string]*modelBox
	views []*modelView
	n     int
	log   []string
}

type modelBox struct {
	dir      string
	validity uint32
	next     imap.UID
	messages map[imap.UID]*modelMessage
	given    map[imap.UID]bool // UIDs that messages have or had
	waiting  []string          // bodies that were delivered and have no UID yet
}

type modelMessage struct {
	body  string
	flags map[imap.Flag]bool
}

// modelView is a client: it knows what it has been told.
type modelView struct {
	*View
	box  *modelBox
	name string
	uids []imap.UID
}

var modelFlags = []imap.Flag{imap.FlagSeen, imap.FlagDeleted, imap.FlagFlagged, "Work", "$Label1", "x"}

// TestModel does random things from several sessions and from outside, and
// holds each session's picture, built of nothing but what it was told, to the
// model.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := filepath.Join(fastDir(t), "Maildir")
			copyTree(t, dir, newMaildir(t))
			m := &model{t: t, dir: dir, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), boxes: make(map[string]*modelBox)}
			m.open()
			create(t, m.a, "Box")
			m.boxes["INBOX"] = &modelBox{dir: dir, next: 1, messages: make(map[imap.UID]*modelMessage), given: make(map[imap.UID]bool)}
			m.boxes["Box"] = &modelBox{dir: filepath.Join(dir, ".Box"), next: 1, messages: make(map[imap.UID]*modelMessage), given: make(map[imap.UID]bool)}
			m.selectAll()
			for range 400 {
				m.step()
				if t.Failed() {
					t.Log(strings.Join(m.log[max(0, len(m.log)-25):], "\n"))
					break
				}
			}
			m.close()
		})
	}
}

func (m *model) open() {
	var err error
	if m.a, err = Open(context.Background(), Options{Maildir: m.dir, unwatched: true}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) close() {
	for _, v := range m.views {
		v.Close()
	}
	m.views = nil
	if err := m.a.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) selectAll() {
	for i, name := range []string{"INBOX", "INBOX", "INBOX", "Box", "Box"} {
		m.freshen()
		v, err := m.a.Select(context.Background(), name, i == 1)
		if err != nil {
			m.t.Fatal(err)
		}
		mv := &modelView{View: v, box: m.boxes[name], name: fmt.Sprint(name, i)}
		m.views = append(m.views, mv)
		if mv.box.validity == 0 {
			mv.box.validity = v.UIDValidity()
		}
		if v.UIDValidity() != mv.box.validity {
			m.t.Errorf("uidvalidity is %d, was %d", v.UIDValidity(), mv.box.validity)
		}
		for n := range v.Len() {
			mv.uids = append(mv.uids, v.UIDAt(SeqNum(n+1)))
		}
		m.number(mv)
		m.compare(mv)
	}
}

// freshen has the next look not trust any directory's time: the test is faster
// than some clocks.
func (m *model) freshen() {
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	for _, mb := range m.a.boxes {
		mb.mu.Lock()
		mb.cur.ctime, mb.new.ctime = 0, 0
		mb.mu.Unlock()
	}
}

// look brings the store up to what was done from outside, of which it otherwise
// hears when it must.
func (m *model) look(v *modelView) {
	m.freshen()
	if err := v.mb.refresh(context.Background(), !v.readOnly); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *model) step() {
	v := m.views[m.rnd.IntN(len(m.views))]
	steps := []func(*modelView){
		m.append, m.append, m.store, m.store, m.store, m.expunge, m.copy, m.move, m.poll, m.poll, m.poll,
		m.deliver, m.outsideFlags, m.outsideFlags, m.outsideRemove, m.status,
	}
	if m.rnd.IntN(60) == 0 {
		m.note("reopen")
		m.close()
		m.open()
		m.selectAll()
		return
	}
	steps[m.rnd.IntN(len(steps))](v)
}

func (m *model) body() string {
	m.n++
	return fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", m.n, strings.Repeat("x", m.rnd.IntN(50)))
}

func (m *model) flags() []imap.Flag {
	var flags []imap.Flag
	for _, f := range modelFlags {
		if m.rnd.IntN(3) == 0 {
			flags = append(flags, f)
		}
	}
	return flags
}

func (b *modelBox) add(uid imap.UID, body string, flags []imap.Flag) {
	msg := &modelMessage{body: body, flags: make(map[imap.Flag]bool)}
	for _, f := range flags {
		msg.flags[f] = true
	}
	b.messages[uid] = msg
	b.given[uid] = true
	b.next = max(b.next, uid+1)
}

func (m *model) append(v *modelView) {
	name := []string{"INBOX", "Box"}[m.rnd.IntN(2)]
	b, body, flags := m.boxes[name], m.body(), m.flags()
	validity, uid, err := tryAppend(m.a, name, body, time.Time{}, flags...)
	m.note("append to %s %v: %d, %v", name, flags, uid, err)
	if err != nil || validity != b.validity || uid < b.next {
		m.t.Errorf("append: uid %d, next was %d; %v", uid, b.next, err)
	}
	b.add(uid, body, flags)
}

// some gives a few of the messages that a client knows.
func (m *model) some(v *modelView) []SeqNum {
	var seqs []SeqNum
	for i := range v.uids {
		if m.rnd.IntN(3) == 0 {
			seqs = append(seqs, SeqNum(i+1))
		}
	}
	return seqs
}

func (m *model) store(v *modelView) {
	seqs, op, flags := m.some(v), StoreOp(m.rnd.IntN(3)), m.flags()
	m.look(v)
	err := v.Store(context.Background(), seqs, op, flags)
	m.note("%s: store %v %d %v: %v", v.name, seqs, op, flags, err)
	if v.readOnly {
		m.wantError(err, ErrReadOnly)
		return
	}
	gone := false
	for _, n := range seqs {
		msg := v.box.messages[v.uids[n-1]]
		if msg == nil {
			gone = true
			continue
		}
		if op == StoreSet {
			clear(msg.flags)
		}
		for _, f := range flags {
			msg.flags[f] = op != StoreRemove
		}
	}
	if gone {
		m.wantError(err, ErrExpunged)
	} else if err != nil {
		m.t.Errorf("store: %v", err)
	}
}

func (m *model) wantError(err, want error) {
	if !errors.Is(err, want) {
		m.t.Errorf("error is %v, want %v", err, want)
	}
}

func (m *model) expunge(v *modelView) {
	var uids imap.UIDSet
	if m.rnd.IntN(2) == 0 {
		uids = imap.UIDSet{}
		for _, n := range m.some(v) {
			uids.AddNum(v.uids[n-1])
		}
	}
	m.look(v)
	err := v.Expunge(context.Background(), uids)
	m.note("%s: expunge %v: %v", v.name, uids, err)
	if v.readOnly {
		m.wantError(err, ErrReadOnly)
		return
	}
	if err != nil {
		m.t.Errorf("expunge: %v", err)
	}
	for _, uid := range v.uids {
		msg := v.box.messages[uid]
		if msg != nil && msg.flags[imap.FlagDeleted] && (uids == nil || uids.Contains(uid)) {
			delete(v.box.messages, uid)
		}
	}
}

func (m *model) copy(v *modelView) { m.transfer(v, false) }
func (m *model) move(v *modelView) { m.transfer(v, true) }

func (m *model) transfer(v *modelView, move bool) {
	name := []string{"INBOX", "Box"}[m.rnd.IntN(2)]
	dest, seqs := m.boxes[name], m.some(v)
	do := v.Copy
	if move {
		do = v.Move
	}
	m.look(v)
	res, err := do(context.Background(), seqs, here(v.View, name))
	m.note("%s: copy %v to %s, move %v: %v, %v", v.name, seqs, name, move, res.Dest, err)
	if move && v.readOnly {
		m.wantError(err, ErrReadOnly)
		return
	}
	for _, n := range seqs {
		if v.box.messages[v.uids[n-1]] == nil {
			m.wantError(err, ErrExpunged)
			return
		}
	}
	if err != nil || len(res.Source) != len(seqs) || len(res.Dest) != len(seqs) {
		m.t.Errorf("copy of %v: %+v, %v", seqs, res, err)
		return
	}
	for i, n := range seqs {
		if res.Source[i] != v.uids[n-1] || res.Dest[i] < dest.next {
			m.t.Errorf("copy of %v: %+v, next was %d", seqs, res, dest.next)
		}
		msg := v.box.messages[res.Source[i]]
		var flags []imap.Flag
		for f, on := range msg.flags {
			if on {
				flags = append(flags, f)
			}
		}
		if move {
			delete(v.box.messages, res.Source[i])
		}
		dest.add(res.Dest[i], msg.body, flags)
	}
}

func (m *model) deliver(v *modelView) {
	body := m.body()
	m.note("deliver %d to %s", m.n, v.box.dir)
	deliver(m.t, v.box.dir, fmt.Sprintf("%d.x%d", 1_700_000_000+m.rnd.IntN(1000), m.n), strings.ReplaceAll(body, "\r", ""))
	v.box.waiting = append(v.box.waiting, body)
}

// outside gives the file of some message, and that message. Those in new are
// left to mailboxes.
func (m *model) outside(b *modelBox) (path string, msg *modelMessage, uid imap.UID) {
	all := files(m.t, b.dir, "cur")
	if len(all) == 0 {
		return "", nil, 0
	}
	name := all[m.rnd.IntN(len(all))]
	base, _, _ := strings.Cut(name, ":")
	var view *modelView
	for _, v := range m.views {
		if v.box == b {
			view = v
		}
	}
	view.mb.snap.Load().all(func(r *record) bool {
		if r.base == base {
			uid = r.uid
		}
		return uid == 0
	})
	return filepath.Join(b.dir, "cur", name), b.messages[uid], uid
}

func (m *model) outsideFlags(v *modelView) {
	path, msg, uid := m.outside(v.box)
	if msg == nil {
		return
	}
	letters := []string{"", "S", "F", "T", "FS", "ST", "FST"}[m.rnd.IntN(7)]
	base, _, _ := strings.Cut(path, ":2,")
	rename(m.t, path, base+":2,"+letters)
	m.note("outside: %d has %q", uid, letters)
	for letter, f := range map[string]imap.Flag{"S": imap.FlagSeen, "F": imap.FlagFlagged, "T": imap.FlagDeleted} {
		msg.flags[f] = strings.Contains(letters, letter)
	}
}

func (m *model) outsideRemove(v *modelView) {
	path, msg, uid := m.outside(v.box)
	if msg == nil || m.rnd.IntN(3) > 0 {
		return
	}
	if err := os.Remove(path); err != nil {
		m.t.Fatal(err)
	}
	m.note("outside: %d is removed", uid)
	delete(v.box.messages, uid)
}

func (m *model) poll(v *modelView) {
	expunge, scan := m.rnd.IntN(2) == 0, m.rnd.IntN(4) > 0
	m.freshen()
	updates, err := v.Poll(context.Background(), expunge, scan)
	if err != nil {
		m.t.Fatal(err)
	}
	m.note("%s: poll %v %v: %+v", v.name, expunge, scan, updates)
	for _, u := range updates {
		m.apply(v, u, expunge)
	}
	m.number(v)
	if len(v.uids) != v.Len() {
		m.t.Fatalf("%s was told of %d messages, and has %d", v.name, len(v.uids), v.Len())
	}
	for i, uid := range v.uids {
		if v.UIDAt(SeqNum(i+1)) != uid {
			m.t.Errorf("%s: message %d is uid %d, was told %d", v.name, i+1, v.UIDAt(SeqNum(i+1)), uid)
		}
	}
	if expunge && scan {
		m.compare(v)
	}
}

func (m *model) apply(v *modelView, u Update, expunge bool) {
	switch u.Kind {
	case UpdateExpunge:
		if !expunge || int(u.Seq) > len(v.uids) || v.uids[u.Seq-1] != u.UID {
			m.t.Fatalf("%s: %+v; it has %v", v.name, u, v.uids)
		}
		v.uids = slices.Delete(v.uids, int(u.Seq)-1, int(u.Seq))
	case UpdateExists:
		for n := len(v.uids); n < int(u.Seq); n++ {
			v.uids = append(v.uids, v.UIDAt(SeqNum(n+1)))
		}
	case UpdateFlags:
		if v.uids[u.Seq-1] != u.UID {
			m.t.Errorf("%s: %+v; it has %v", v.name, u, v.uids)
		}
	}
}

// number finds out which UIDs the delivered messages have been given.
func (m *model) number(v *modelView) {
	for i, uid := range v.uids {
		if v.box.given[uid] {
			continue
		}
		body := read(m.t, v.View, SeqNum(i+1))
		n := slices.Index(v.box.waiting, body)
		if n < 0 {
			m.t.Errorf("%s: message %d is none that was delivered: %q", v.name, uid, body)
			continue
		}
		v.box.waiting = slices.Delete(v.box.waiting, n, n+1)
		v.box.add(uid, body, nil)
	}
}

// compare holds a view that has been told everything to the model.
func (m *model) compare(v *modelView) {
	m.t.Helper()
	if len(v.box.waiting) > 0 {
		m.t.Errorf("%s: %q are not shown", v.name, v.box.waiting)
	}
	got, want := make(map[imap.UID]string), make(map[imap.UID]string)
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		msg := v.At(n)
		got[msg.UID] = modelString(read(m.t, v.View, n), msg.Flags)
		if size, err := v.Size(context.Background(), n); err != nil || size != int64(len(v.box.messages[msg.UID].body)) {
			m.t.Errorf("size of %d is %d, %v", msg.UID, size, err)
		}
	}
	for uid, msg := range v.box.messages {
		var flags []imap.Flag
		for f, on := range msg.flags {
			if on {
				flags = append(flags, f)
			}
		}
		want[uid] = modelString(msg.body, flags)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s: %s", v.name, diff)
	}
	if v.UIDNext() < v.box.next {
		m.t.Errorf("%s: uidnext %d, want %d", v.name, v.UIDNext(), v.box.next)
	}
}

func modelString(body string, flags []imap.Flag) string {
	flags = slices.Clone(flags)
	slices.Sort(flags)
	return fmt.Sprint(flags, body)
}

func (m *model) status(v *modelView) {
	m.freshen()
	st, err := m.a.Status(context.Background(), v.Name(), true)
	if err != nil {
		m.t.Fatal(err)
	}
	want := Status{Messages: uint32(len(v.box.messages) + len(v.box.waiting))}
	for _, msg := range v.box.messages {
		want.Size += int64(len(msg.body))
		if !msg.flags[imap.FlagSeen] {
			want.Unseen++
		}
		if msg.flags[imap.FlagDeleted] {
			want.Deleted++
			want.DeletedSize += int64(len(strings.ReplaceAll(msg.body, "\r", "")))
		}
	}
	for _, body := range v.box.waiting {
		want.Unseen++
		want.Size += int64(len(body))
	}
	st.UIDNext, st.UIDValidity, st.HighestModSeq, st.Recent, st.MailboxID = 0, 0, 0, 0, ""
	if diff := cmp.Diff(want, st); diff != "" {
		m.t.Errorf("status of %s: %s", v.name, diff)
	}
}

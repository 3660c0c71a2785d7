package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// crashState is everything that a client can see of an account.
type crashState struct {
	boxes map[string]crashBox
	subs  []string
	quota Limits
	acls  map[string]string // also of names that are only parents
	kept  map[string]int    // what was expunged and is to stay, and how often
	exact map[string]string // Courier's files by path, where the account has just been closed
}

type crashBox struct {
	validity uint32
	next     imap.UID
	modseq   ModSeq
	messages map[imap.UID]crashMessage
	use      imap.MailboxAttr
	comment  string // an annotation
	marked   bool   // UIDs were taken over: there is a file with a mark
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
	s := crashState{boxes: make(map[string]crashBox), acls: make(map[string]string), kept: observeKept(t, a)}
	if s.quota, _, err = a.Quota(); err != nil && !errors.Is(err, ErrNoQuota) {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Subscribed {
			s.subs = append(s.subs, e.Name)
		}
		acl, err := a.ACL(ctx, e.Name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		s.acls[e.Name] = fmt.Sprint(acl)
		if !e.Selectable {
			continue
		}
		box := observeBox(t, a, e.Name)
		box.use = e.Use
		notes, err := a.Metadata(ctx, e.Name, "", "/comment", 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		box.comment = fmt.Sprint(notes)
		s.boxes[e.Name] = box
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
	b := crashBox{
		validity: v.UIDValidity(), next: v.UIDNext(), modseq: v.HighestModSeq(),
		messages: make(map[imap.UID]crashMessage), marked: v.mb.row.uiddb,
	}
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

// crashCheck opens what a disk holds after a cut, and holds it to what had
// been acknowledged. It gives the first thing that is wrong.
func crashCheck(t *testing.T, o Options, oracle func(got, before, after crashState) error, before, after crashState) error {
	t.Helper()
	tmp := inTmp(o.Maildir)
	a, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	if len(before.kept)+len(after.kept) > 0 {
		a.SetKeep(crashKeep)
	}
	got := observe(t, a)
	if err := oracle(got, before, after); err != nil {
		a.Close()
		return err
	}
	if err := tmpKept(o.Maildir, tmp); err != nil {
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
	a, err = Open(context.Background(), o)
	if err != nil {
		return fmt.Errorf("second recovery: %w", err)
	}
	defer a.Close()
	again := observe(t, a)
	if err := compareKept(again, got, got); err != nil {
		return fmt.Errorf("second recovery: %w", err)
	}
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
	if before.boxes == nil {
		return nil // no one has seen anything
	}
	for _, sub := range before.subs {
		if !slices.Contains(got.subs, sub) && slices.Contains(after.subs, sub) {
			return fmt.Errorf("subscription of %s is lost", sub)
		}
	}
	if got.quota != before.quota && got.quota != after.quota {
		return fmt.Errorf("the limits are %v, were %v", got.quota, before.quota)
	}
	for name, acl := range before.acls {
		g, there := got.acls[name]
		if _, stays := after.acls[name]; there && stays && g != acl && g != after.acls[name] {
			return fmt.Errorf("the rights to %s are %s, were %s", name, g, acl)
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
		was := crashBox{} // a new one, into which messages may be on their way
		for _, b := range before.boxes {
			if b.validity == want.validity {
				was = want // it was renamed, and is whole
			}
		}
		if g, there := got.boxes[name]; there && len(want.messages) > 0 {
			if err := compareBox(g, was, want); err != nil {
				return fmt.Errorf("mailbox %s: %w", name, err)
			}
		}
	}
	if err := compareKept(got, before, after); err != nil {
		return err
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
	if got.use != before.use && got.use != after.use || got.comment != before.comment && got.comment != after.comment {
		return fmt.Errorf("use %q, annotations %s; were %q, %s", got.use, got.comment, before.use, before.comment)
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
		if a, there := after.messages[uid]; there && g == a {
			continue
		}
		if err := wholeMessage(uid, g, before, after); err != nil {
			return err
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

// lostMessages holds that a message being moved, or kept, is somewhere.
func lostMessages(got, before, after crashState) error {
	count := func(s crashState) map[string]int {
		n := maps.Clone(s.kept)
		if n == nil {
			n = make(map[string]int)
		}
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
			return fmt.Errorf("message %q is in no mailbox, and is not kept", body)
		}
	}
	return nil
}

// sidecarNames are the files of which a disk must have all or nothing.
var sidecarNames = []string{
	maildir.UIDDBFile, maildir.KeywordsList, maildir.SubscriptionsFile, maildir.ACLFile, maildir.SizeFileName,
	maildir.SpecialUseFile, validityFile, courierUIDNext,
}

// sidecars holds the files beside the messages, before anyone mends them: each is
// whole, and a mark is above what a client has seen.
func (c *crashRecorded) sidecars(disk []crashFile, before crashState) error {
	highest := uint32(0)
	marks := make(map[string]imap.UID) // that there must be, by directory
	for name, b := range before.boxes {
		// Exact, Courier's file says itself which UIDs were given.
		if highest = max(highest, b.validity); b.marked && before.exact == nil {
			dir, err := maildir.EncodeName(name, maildir.UTF8)
			if err != nil {
				return err
			}
			marks[filepath.Clean(dir)] = b.next
		}
	}
	for _, f := range disk {
		if f.dir || !slices.Contains(sidecarNames, filepath.Base(f.path)) {
			continue
		}
		if !c.wasWhole(filepath.Base(f.path), f.data) {
			return fmt.Errorf("%s is not whole: %q", f.path, f.data)
		}
		var v, next uint32
		switch filepath.Base(f.path) {
		case validityFile:
			if fmt.Sscan(string(f.data), &v); v <= highest {
				return fmt.Errorf("%s has %d, uidvalidity %d is given", f.path, v, highest)
			}
			highest = 0
		case courierUIDNext:
			fmt.Sscan(string(f.data), &v, &next)
			if dir := filepath.Dir(f.path); imap.UID(next) >= marks[dir] {
				delete(marks, dir)
			}
		}
	}
	if highest > 0 && c.start.ours {
		return fmt.Errorf("no %s", validityFile)
	}
	for dir, next := range marks {
		return fmt.Errorf("%s/%s is missing, or not above %d", dir, courierUIDNext, next)
	}
	return nil
}

// courierFilesOf reads Courier's files of a tree, which are exact once the account is
// closed.
func courierFilesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	exact := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != maildir.UIDDBFile && filepath.Base(filepath.Dir(path)) != maildir.KeywordsDir {
			return err
		}
		data, err := os.ReadFile(path)
		exact[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return exact
}

// sameFiles holds that files are on a disk as they were.
func sameFiles(disk []crashFile, want map[string]string) error {
	there := make(map[string]string)
	for _, f := range disk {
		there[f.path] = string(f.data)
	}
	for path, data := range want {
		if got, ok := there[path]; !ok || got != data {
			return fmt.Errorf("%s is %q, there %v, was %q", path, got, ok, data)
		}
	}
	return nil
}

// wasWhole tells whether a file of that name once had that content under it.
func (c *crashRecorded) wasWhole(name string, data []byte) bool {
	if c.whole[name] == nil {
		if c.whole == nil {
			c.whole = make(map[string]map[string]bool)
		}
		c.whole[name] = make(map[string]bool)
		for _, n := range c.nodes {
			c.whole[name][wholeKey(name, n.content)] = true
		}
	}
	return len(data) > 0 && c.whole[name][wholeKey(name, data)]
}

// wholeKey is what there must be of a file of that name: of one that lines are
// added to without a sync, the first line.
func wholeKey(name string, data []byte) string {
	if name != maildir.SizeFileName {
		return string(data)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return "limits " + first
}

// inTmp gives what is being written in all mailboxes.
func inTmp(dir string) []string {
	top, _ := filepath.Glob(filepath.Join(dir, "tmp", "*"))
	folders, _ := filepath.Glob(filepath.Join(dir, ".*", "tmp", "*"))
	return append(top, folders...)
}

// tmpKept holds that nothing is removed which someone may still be writing: all of
// it is young.
func tmpKept(dir string, before []string) error {
	now := inTmp(dir)
	for _, path := range before {
		if _, err := os.Lstat(filepath.Dir(path)); err == nil && !slices.Contains(now, path) {
			return fmt.Errorf("%s is removed", path)
		}
	}
	return nil
}

package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Target is the account here: sessions of its user with the daemon, as the daemon
// has begun them, each with its greeting still to be read.
type Target struct {
	prefix string             // of the names that are listed: "" or "INBOX."
	client *imapclient.Client // for all but messages
	append []*Session
	stop   context.CancelFunc // of awake

	selected sync.Mutex // whose mailbox is selected in client
}

// awakeEvery is how often the daemon hears of each session: it ends one that says nothing
// for half an hour (RFC 9051 §5.4), and a source may take longer than that for a mailbox.
const awakeEvery = 10 * time.Minute

// NewTarget makes a target of at least two sessions, which are its own from then
// on, and end with ctx.
func NewTarget(ctx context.Context, prefix string, sessions []net.Conn) (*Target, error) {
	if len(sessions) < 2 {
		return nil, errors.New("a target needs two sessions")
	}
	t := &Target{prefix: prefix, client: imapclient.New(sessions[0], nil)}
	alive, stop := context.WithCancel(ctx)
	t.stop = stop
	context.AfterFunc(ctx, t.Close)
	if err := t.client.WaitGreeting(); err != nil {
		return nil, fmt.Errorf("begin a session here: %w", err)
	}
	for _, c := range sessions[1:] {
		s, err := Begin(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("begin a session here: %w", err)
		}
		t.append = append(t.append, s)
	}
	go t.awake(alive)
	return t, nil
}

// awake keeps sessions that nobody uses for a while. What is wrong with one is told to
// who uses it next.
func (t *Target) awake(ctx context.Context) {
	tick := time.NewTicker(awakeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var all sync.WaitGroup
		all.Go(func() {
			if t.selected.TryLock() { // who has it is at work, or has just been
				defer t.selected.Unlock()
				t.client.Noop().Wait()
			}
		})
		for _, s := range t.append {
			all.Go(s.awake)
		}
		all.Wait()
	}
}

// Close ends the sessions.
func (t *Target) Close() {
	t.stop()
	t.client.Close()
	for _, s := range t.append {
		s.Close()
	}
}

// uses gives our mailboxes by special use, without the prefix.
func (t *Target) uses() (map[imap.MailboxAttr]string, error) {
	list, err := t.client.List("", "*", &imap.ListOptions{ReturnSpecialUse: true}).Collect()
	if err != nil {
		return nil, fmt.Errorf("list the mailboxes here: %w", err)
	}
	uses := map[imap.MailboxAttr]string{}
	for _, l := range list {
		for _, a := range l.Attrs {
			if slices.Contains(specialUses, a) {
				uses[a] = strings.TrimPrefix(l.Mailbox, t.prefix)
			}
		}
	}
	return uses, nil
}

// specialUses are those that say where clients put something (RFC 6154 §2).
var specialUses = []imap.MailboxAttr{imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash}

// status says where the UIDs of a mailbox stand.
func (t *Target) status(name string) (validity uint32, next imap.UID, err error) {
	st, err := t.client.Status(name, &imap.StatusOptions{UIDNext: true, UIDValidity: true}).Wait()
	if err != nil {
		return 0, 0, fmt.Errorf("look at the mailbox %s: %w", name, err)
	}
	return st.UIDValidity, st.UIDNext, nil
}

// ensure makes a mailbox unless it is there, with a special use unless that is "", and
// gives its UIDVALIDITY.
func (t *Target) ensure(name string, subscribe bool, use imap.MailboxAttr) (validity uint32, err error) {
	if validity, _, err = t.status(name); err == nil {
		return validity, nil
	}
	if use != "" {
		err = t.client.Create(name, &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{use}}).Wait() // RFC 6154 §3
	}
	if err != nil { // there is no use, or none may be given
		err = t.client.Create(name, nil).Wait()
	}
	if err != nil {
		return 0, fmt.Errorf("make the mailbox %s: %w", name, err)
	}
	if subscribe {
		if err := t.client.Subscribe(name).Wait(); err != nil {
			return 0, fmt.Errorf("subscribe to %s: %w", name, err)
		}
	}
	validity, _, err = t.status(name)
	return validity, err
}

// digest tells messages apart by their octets.
type digest = [sha256.Size]byte

// ours is a message that is here.
type ours struct {
	uid    imap.UID
	date   int64 // in seconds since 1970
	flags  string
	digest digest // if it was asked for
}

// messages tells of messages of a mailbox: their dates and
// flags, and digests if their octets are to be read.
func (t *Target) messages(name string, uids imap.UIDSet, octets bool, each func(ours)) error {
	t.selected.Lock()
	defer t.selected.Unlock()
	if _, err := t.client.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		return fmt.Errorf("open the mailbox %s: %w", name, err)
	}
	o := &imap.FetchOptions{UID: true, InternalDate: true, Flags: true}
	if octets {
		o.BodySection = []*imap.FetchItemBodySection{{Peek: true}}
	}
	for some := range slices.Chunk(uids, maxRanges) {
		if err := t.fetch(some, o, each); err != nil {
			return fmt.Errorf("read the mailbox %s: %w", name, err)
		}
	}
	return nil
}

// maxRanges is how many ranges of UIDs one command names: its line is bounded.
const maxRanges = 500

func (t *Target) fetch(uids imap.UIDSet, o *imap.FetchOptions, each func(ours)) error {
	cmd := t.client.Fetch(uids, o)
	defer cmd.Close()
	for d := cmd.Next(); d != nil; d = cmd.Next() {
		m, err := readOurs(d)
		if err != nil {
			<-t.client.Closed() // as in takeFetched
			return err
		}
		each(m)
	}
	return cmd.Close()
}

// change changes flags of messages of the mailbox that is selected.
func (t *Target) change(uids imap.UIDSet, c change) error {
	for op, flags := range map[imap.StoreFlagsOp]string{imap.StoreFlagsAdd: c.add, imap.StoreFlagsDel: c.remove} {
		if flags == "" {
			continue
		}
		store := &imap.StoreFlags{Op: op, Silent: true}
		for _, f := range strings.Fields(flags) {
			store.Flags = append(store.Flags, imap.Flag(f))
		}
		for some := range slices.Chunk(uids, maxRanges) {
			if err := t.client.Store(some, store, nil).Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readOurs reads a message without holding it in memory.
func readOurs(d *imapclient.FetchMessageData) (m ours, err error) {
	for item := d.Next(); item != nil; item = d.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			m.uid = item.UID
		case imapclient.FetchItemDataFlags:
			m.flags = flagList(item.Flags)
		case imapclient.FetchItemDataInternalDate:
			m.date = item.Time.Unix()
		case imapclient.FetchItemDataBodySection:
			if item.Literal == nil {
				continue
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, item.Literal); err != nil {
				return m, err
			}
			m.digest = digest(sum.Sum(nil))
		}
	}
	return m, nil
}

package bench_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// powerMessage is a message as it was acknowledged.
type powerMessage struct {
	text    string
	flags   map[string]bool // those that were set by an acknowledged command
	unsure  bool            // a STORE, or more, of it was under way
	leaving bool            // so was what removes it
}

// powerBox is what a client knows of a mailbox that only it writes to.
type powerBox struct {
	name     string
	rnd      *rand.Rand
	validity uint32
	messages map[uint32]*powerMessage
	gone     map[string]uint32 // texts that an acknowledged command has removed
	sending  map[string]bool   // texts under way
	copied   map[string]bool   // texts that are in Copies
	expunged map[string]bool   // texts that are no more, with or without an answer
	taken    map[uint32]string // all UIDs that were ever told
	next     uint64            // the highest UIDNEXT that was told
	modseq   uint64
	sent     int
	acked    int

	condstore bool
	calm      *atomic.Bool // no message is to be appended: others' syncs would save what is not synced
}

func newPowerBox(name string, rnd *rand.Rand) *powerBox {
	return &powerBox{
		name: name, rnd: rnd, messages: make(map[uint32]*powerMessage), gone: make(map[string]uint32),
		sending: make(map[string]bool), copied: make(map[string]bool), expunged: make(map[string]bool), taken: make(map[uint32]string),
	}
}

// work gives commands until one is not answered.
func (b *powerBox) work(c *plainClient) error {
	if err := b.open(c); err != nil {
		return err
	}
	for {
		if err := b.step()(c); err != nil {
			return err
		}
		b.acked++
	}
}

// step chooses what is done next.
func (b *powerBox) step() func(*plainClient) error {
	calm := b.calm.Load()
	n := b.rnd.IntN(10)
	switch {
	case calm && len(b.messages) <= 1:
		return b.status
	case calm, len(b.messages) > 3 && n >= 4:
		return []func(*plainClient) error{b.store, b.store, b.expunge, b.move, b.status, b.status}[max(n, 4)-4]
	}
	return b.append
}

func (b *powerBox) open(c *plainClient) error {
	lines, _, err := c.command("%s", b.selectBox())
	if err != nil {
		return err
	}
	b.validity = uint32(number(lines, "UIDVALIDITY"))
	b.shown(lines)
	return nil
}

func (b *powerBox) selectBox() string {
	if b.condstore {
		return "SELECT " + b.name + " (CONDSTORE)"
	}
	return "SELECT " + b.name
}

// shown takes in the counters that the server has told.
func (b *powerBox) shown(lines []string) {
	b.next = max(b.next, number(lines, "UIDNEXT"))
	b.modseq = max(b.modseq, number(lines, "HIGHESTMODSEQ"))
}

func (b *powerBox) append(c *plainClient) error {
	b.sent++
	text := fmt.Sprintf("Subject: %s message %d\r\n\r\n%s", b.name, b.sent, strings.Repeat("A line of it.\r\n", 1+b.rnd.IntN(300)))
	b.sending[text] = true
	_, uid, err := c.append(b.name, `\Seen`, text)
	if err != nil {
		return err
	}
	delete(b.sending, text)
	b.messages[uid] = &powerMessage{text: text, flags: map[string]bool{`\Seen`: true}}
	b.taken[uid] = text
	b.next = max(b.next, uint64(uid)+1)
	return nil
}

func (b *powerBox) pick() (uint32, *powerMessage) {
	uids := slices.Sorted(maps.Keys(b.messages))
	uid := uids[b.rnd.IntN(len(uids))]
	return uid, b.messages[uid]
}

func (b *powerBox) store(c *plainClient) error {
	uid, m := b.pick()
	flag := []string{`\Flagged`, `\Answered`, `\Draft`}[b.rnd.IntN(3)]
	m.unsure = true
	lines, _, err := c.command("UID STORE %d +FLAGS (%s)", uid, flag)
	if err != nil {
		return err
	}
	m.unsure, m.flags[flag] = false, true
	for _, line := range lines {
		if _, seq, ok := strings.Cut(line, "MODSEQ ("); ok {
			var n uint64
			fmt.Sscan(strings.TrimRight(seq, ")\r\n"), &n)
			b.modseq = max(b.modseq, n)
		}
	}
	return nil
}

func (b *powerBox) expunge(c *plainClient) error {
	uid, m := b.pick()
	return b.remove(c, uid, m)
}

func (b *powerBox) remove(c *plainClient, uid uint32, m *powerMessage) error {
	m.unsure, m.leaving = true, true
	if _, _, err := c.command(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid); err != nil {
		return err
	}
	if _, _, err := c.command("EXPUNGE"); err != nil {
		return err
	}
	for uid, m := range b.messages {
		if m.leaving { // this one, and what was marked when the server was last cut off
			delete(b.messages, uid)
			b.gone[m.text] = uid
			b.expunged[m.text] = true
		}
	}
	return nil
}

// move copies, and removes here, as clients do where there is no MOVE.
func (b *powerBox) move(c *plainClient) error {
	uid, m := b.pick()
	if _, _, err := c.command("UID COPY %d %s", uid, strings.Replace(b.name, b.name[strings.Index(b.name, "Box"):], "Copies", 1)); err != nil {
		return err
	}
	b.copied[m.text] = true
	return b.remove(c, uid, m)
}

func (b *powerBox) status(c *plainClient) error {
	lines, _, err := c.command("STATUS %s (MESSAGES UIDNEXT)", b.name)
	b.shown(lines)
	return err
}

// powerLoss is what a server had acknowledged and did not keep.
type powerLoss struct {
	appends, copies  int
	kept             int // of what was expunged and is to be kept
	expunges, stores int
	reused           int // UIDs that are another message's now
	renumbered       int // messages under another UID, or UIDVALIDITY
	modseqs, nexts   int // counters that have gone back
	torn             int // messages that are there in part
}

func (l powerLoss) none() bool { return l == powerLoss{} }

func (l *powerLoss) add(o powerLoss) {
	l.appends += o.appends
	l.copies += o.copies
	l.kept += o.kept
	l.expunges += o.expunges
	l.stores += o.stores
	l.reused += o.reused
	l.renumbered += o.renumbered
	l.modseqs += o.modseqs
	l.nexts += o.nexts
	l.torn += o.torn
}

// check compares the mailbox with what was acknowledged, and goes on from what it
// is. It tells how long SELECT took.
func (b *powerBox) check(c *plainClient) (l powerLoss, took time.Duration, err error) {
	start := time.Now()
	lines, _, err := c.command("%s", b.selectBox())
	took = time.Since(start)
	lost := errors.Is(err, errRefused) // there is no such mailbox any more
	if lost {
		l.appends += len(b.messages)
		b.goOn(nil, nil)
		b.validity, b.next, b.modseq, b.taken = 0, 0, 0, make(map[uint32]string)
		_, _, err = c.command("CREATE %s", b.name)
	}
	if err != nil || lost {
		return l, took, err
	}
	validity := uint32(number(lines, "UIDVALIDITY"))
	same := b.validity == 0 || validity == b.validity
	if same {
		if number(lines, "UIDNEXT") < b.next {
			l.nexts++
		}
		if m := number(lines, "HIGHESTMODSEQ"); b.condstore && m < b.modseq {
			l.modseqs++
		}
	}
	there, flags, err := b.fetch(c)
	if err != nil {
		return l, took, err
	}
	b.compare(&l, there, flags, same)
	b.goOn(there, flags)
	b.validity = validity
	b.next, b.modseq = 0, 0
	b.shown(lines)
	return l, took, nil
}

// fetch gives texts and flags by UID.
func (b *powerBox) fetch(c *plainClient) (there, flags map[uint32]string, err error) {
	there, flags = make(map[uint32]string), make(map[uint32]string)
	lines, _, err := c.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
	for _, line := range lines {
		if !strings.Contains(line, " FETCH (") {
			continue
		}
		uid := uint32(number([]string{line}, "UID"))
		head, rest, _ := strings.Cut(line, "\r\n")
		var size int
		_, n, _ := strings.Cut(head, "BODY[] {")
		fmt.Sscanf(n, "%d}", &size)
		if size <= len(rest) {
			there[uid] = rest[:size]
			flags[uid] = head + rest[size:]
		}
	}
	return there, flags, err
}

func (b *powerBox) compare(l *powerLoss, there, flags map[uint32]string, same bool) {
	at := make(map[string]uint32)
	for uid, text := range there {
		at[text] = uid
	}
	for uid, m := range b.messages {
		now, found := at[m.text]
		switch {
		case !found && !m.leaving:
			l.appends++
		case !found:
			b.expunged[m.text] = true
		case now != uid || !same:
			l.renumbered++
		default:
			for flag := range m.flags {
				if !m.unsure && !strings.Contains(flags[uid], flag) {
					l.stores++
				}
			}
		}
	}
	for text := range b.gone {
		if _, back := at[text]; back {
			l.expunges++
		}
	}
	for uid, text := range there {
		if old, known := b.taken[uid]; same && known && old != text {
			l.reused++
		}
		if _, gone := b.gone[text]; !gone && !b.sending[text] && !b.knows(text) {
			l.torn++
		}
	}
}

func (b *powerBox) knows(text string) bool {
	for _, m := range b.messages {
		if m.text == text {
			return true
		}
	}
	return false
}

// goOn takes what is there for what was acknowledged.
func (b *powerBox) goOn(there, flags map[uint32]string) {
	b.messages, b.gone, b.sending = make(map[uint32]*powerMessage), make(map[string]uint32), make(map[string]bool)
	for uid, text := range there {
		m := &powerMessage{text: text, flags: make(map[string]bool)}
		for _, flag := range []string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`} {
			m.flags[flag] = strings.Contains(flags[uid], flag)
		}
		maps.DeleteFunc(m.flags, func(_ string, on bool) bool { return !on })
		m.leaving = strings.Contains(flags[uid], `\Deleted`) // the next EXPUNGE takes it along
		m.unsure = m.leaving
		b.messages[uid] = m
		b.taken[uid] = text
	}
}

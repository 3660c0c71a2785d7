package bench

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// box is what all clients together know of a mailbox. A message that nobody has
// tried to remove must be there, one that somebody was told to be gone must not
// come back, and a UID is of one message for ever.
type box struct {
	name string

	mu       sync.Mutex
	validity uint64
	start    uint32            // the greatest UID before it all
	top      uint32            // the greatest UID that was ever acknowledged
	id       map[uint32]string // Message-ID by UID, as far as it was seen
	acked    map[uint32]bool   // UIDs that APPEND, COPY and MOVE have acknowledged
	doomed   map[uint32]bool   // somebody has tried to remove it
	gone     map[uint32]bool   // somebody was told that it is
}

func newBox(name string) *box {
	return &box{name: name, id: map[uint32]string{}, acked: map[uint32]bool{}, doomed: map[uint32]bool{}, gone: map[uint32]bool{}}
}

func (b *box) highest() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.top
}

// isDoomed says whether a message may be gone. Of one whose APPEND, COPY or MOVE
// has been answered to nobody yet, it is not known: it may be a copy of what was
// being removed.
func (b *box) isDoomed(uid uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uid == 0 || b.doomed[uid] || uid > b.start && !b.acked[uid]
}

func (b *box) doom(uids []uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, uid := range uids {
		b.doomed[uid] = true
	}
}

// added takes note of a message that was acknowledged, by a command that began
// when top was the greatest UID.
func (b *box) added(uid, top uint32, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case uid <= top:
		return fmt.Errorf("UID %d was given out after %d", uid, top)
	case b.acked[uid]:
		return fmt.Errorf("UID %d was given out twice", uid)
	}
	b.acked[uid], b.top = true, max(b.top, uid)
	return b.same(uid, id)
}

// same holds a UID to its message. The caller holds b.mu.
func (b *box) same(uid uint32, id string) error {
	if id == "" {
		return nil
	}
	if was := b.id[uid]; was != "" && was != id {
		return fmt.Errorf("UID %d was message %s and is %s", uid, was, id)
	}
	b.id[uid] = id
	return nil
}

// removed takes note of what a session was told. Whether anybody has removed it
// is known at the end: a copy of what was being removed may be gone before its
// COPY is answered.
func (b *box) removed(uid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if uid != 0 {
		b.gone[uid] = true
	}
}

// identity takes note of which message a UID is.
func (b *box) identity(uid uint32, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.same(uid, id)
}

// faults is what is wrong with the mailbox after all, which holds these UIDs.
func (b *box) faults(uids []uint32) []error {
	var list []error
	for uid := range b.acked {
		if !b.doomed[uid] && !slices.Contains(uids, uid) {
			list = append(list, fmt.Errorf("%s: UID %d was acknowledged, and is not there", b.name, uid))
		}
	}
	for uid := range b.gone {
		if !b.doomed[uid] {
			list = append(list, fmt.Errorf("%s: UID %d is gone, which nobody has removed", b.name, uid))
		}
		if slices.Contains(uids, uid) {
			list = append(list, fmt.Errorf("%s: UID %d is there, and somebody was told that it is gone", b.name, uid))
		}
	}
	return list
}

// view is a mailbox as the server has told one session. keyword is of this client
// alone, so nothing but its own commands changes which messages have it.
type view struct {
	box     *box
	keyword string
	has     map[uint32]bool // by UID, once it was seen or set
	uids    []uint32        // by sequence number from 1 on, 0 where not told yet
	answers map[int]bool    // the sequence numbers that the running FETCH has told of
}

// take is told of each untagged response while a command runs.
func (v *view) take(command string, line []byte) error {
	rest, ok := bytes.CutPrefix(line, []byte("* "))
	if !ok {
		return fmt.Errorf("a response of no form: %.80q", line)
	}
	word, rest, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(word))
	if err != nil {
		if v != nil && string(word) == "SEARCH" {
			return v.found(command, rest)
		}
		return nil
	}
	if v == nil {
		return fmt.Errorf("no mailbox is selected: %.80q", line)
	}
	switch kind, items, _ := bytes.Cut(rest, []byte(" ")); string(kind) {
	case "EXISTS":
		if n < len(v.uids) {
			return fmt.Errorf("EXISTS fell from %d to %d", len(v.uids), n)
		}
		v.uids = append(v.uids, make([]uint32, n-len(v.uids))...)
	case "EXPUNGE":
		return v.expunged(command, n)
	case "FETCH":
		return v.fetched(n, items)
	}
	return nil
}

// expunged is not told while sequence numbers are in use (RFC 9051 §7.5.1).
func (v *view) expunged(command string, n int) error {
	switch verb, _, _ := strings.Cut(command, " "); verb {
	case "FETCH", "STORE", "SEARCH":
		return fmt.Errorf("EXPUNGE of %d during %s", n, verb)
	}
	if n < 1 || n > len(v.uids) {
		return fmt.Errorf("EXPUNGE of %d, of %d", n, len(v.uids))
	}
	uid := v.uids[n-1]
	v.uids = slices.Delete(v.uids, n-1, n)
	v.box.removed(uid)
	return nil
}

func (v *view) fetched(n int, items []byte) error {
	if n < 1 || n > len(v.uids) {
		return fmt.Errorf("FETCH of %d, of %d", n, len(v.uids))
	}
	if v.answers != nil {
		v.answers[n] = true
	}
	if uid := number(after(items, "UID ")); uid != 0 {
		if err := v.learn(n, uid); err != nil {
			return err
		}
	}
	uid := v.uids[n-1]
	if uid == 0 {
		return nil
	}
	if list, ok := bytes.CutPrefix(after(items, "FLAGS "), []byte("(")); ok {
		list, _, _ = bytes.Cut(list, []byte(")"))
		has := slices.Contains(strings.Fields(string(list)), v.keyword)
		// One that is gone, as nobody has told us yet, stays as it was last seen.
		if was, known := v.has[uid]; known && was != has && !v.box.isDoomed(uid) {
			return fmt.Errorf("UID %d has %s: %v, it should be %v", uid, v.keyword, has, was)
		}
		v.has[uid] = has
	}
	if id := after(items, "essage-ID: "); id != nil {
		id, _, _ = bytes.Cut(id, []byte("\r\n"))
		return v.box.identity(uid, string(id))
	}
	return nil
}

// learn takes note of a UID: they rise, and none becomes another.
func (v *view) learn(n int, uid uint32) error {
	if was := v.uids[n-1]; was != 0 && was != uid {
		return fmt.Errorf("message %d was UID %d and is %d", n, was, uid)
	}
	for i := n - 2; i >= 0; i-- {
		if before := v.uids[i]; before != 0 {
			if before >= uid {
				return fmt.Errorf("message %d is UID %d, after %d", n, uid, before)
			}
			break
		}
	}
	v.uids[n-1] = uid
	return nil
}

// found checks a SEARCH for the own keyword. A message that is being removed may
// be missing.
func (v *view) found(command string, list []byte) error {
	hits := map[int]bool{}
	for _, word := range bytes.Fields(list) {
		n, err := strconv.Atoi(string(word))
		if err != nil || n < 1 || n > len(v.uids) {
			return fmt.Errorf("SEARCH found %q, of %d", word, len(v.uids))
		}
		hits[n] = true
	}
	if command != "SEARCH KEYWORD "+v.keyword {
		return nil
	}
	for i, uid := range v.uids {
		if has, known := v.has[uid]; uid != 0 && known && has != hits[i+1] && !v.box.isDoomed(uid) {
			return fmt.Errorf("SEARCH of %s: UID %d found %v, it should be %v", v.keyword, uid, hits[i+1], has)
		}
	}
	return nil
}

// after is what follows a word, or nil.
func after(line []byte, word string) []byte {
	if i := bytes.Index(line, []byte(word)); i >= 0 {
		return line[i+len(word):]
	}
	return nil
}

// number is the digits at the start, or 0.
func number(b []byte) uint32 {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	v, _ := strconv.ParseUint(string(b[:n]), 10, 32)
	return uint32(v)
}

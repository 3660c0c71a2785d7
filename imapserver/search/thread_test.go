package search

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/message"
	"mailstead/imapserver/oracle"
	"mailstead/imapserver/wire"
)

var algorithms = []imap.ThreadAlgorithm{imap.ThreadOrderedSubject, imap.ThreadReferences, wire.ThreadRefs}

// found makes the message of number num, sent at minute sent.
func found(num uint32, sent int, subject string, id message.MessageID, refs ...message.MessageID) Found {
	s, reply := strings.CutPrefix(subject, "Re: ")
	return Found{Num: num, Overview: message.Overview{
		Sent: time.Unix(int64(sent)*60, 0).UTC(), Subject: s, Reply: reply, ID: id, Refs: refs,
	}}
}

func threads(algorithm imap.ThreadAlgorithm, list []Found) string {
	t := NewThreader(algorithm)
	for i := range list {
		t.Add(&list[i])
	}
	result := t.Threads()
	var dst []byte
	for _, root := range result.Roots {
		dst = result.Append(dst, root)
	}
	return string(dst)
}

func TestThreads(t *testing.T) {
	for _, c := range []struct {
		name                        string
		list                        []Found
		references, refs, bySubject string
	}{
		{"none", nil, "", "", ""},
		{"a chain", []Found{found(1, 1, "a", 1), found(2, 2, "Re: a", 2, 1), found(3, 3, "Re: a", 3, 1, 2)}, "(1 2 3)", "(1 2 3)", "(1 (2)(3))"},
		{"answers before questions", []Found{found(1, 3, "x", 3, 1, 2), found(2, 2, "x", 2, 1), found(3, 1, "x", 1)}, "(3 2 1)", "(3 2 1)", "(3 (2)(1))"},
		{"two answers", []Found{found(1, 1, "a", 1), found(2, 3, "b", 2, 1), found(3, 2, "c", 3, 1)}, "(1 (3)(2))", "(1 (3)(2))", "(1)(3)(2)"},
		{"a question that is missing", []Found{found(1, 1, "a", 1, 9), found(2, 2, "b", 2, 9)}, "((1)(2))", "((1)(2))", "(1)(2)"},
		{"one answer to what is missing", []Found{found(1, 1, "a", 1, 8, 9), found(2, 2, "b", 2)}, "(1)(2)", "(1)(2)", "(1)(2)"},
		{"missing in between", []Found{found(1, 1, "a", 1), found(2, 2, "b", 2, 1, 9), found(3, 3, "c", 3, 1, 9)}, "(1 (2)(3))", "(1 (2)(3))", "(1)(2)(3)"},
		{"one Message-ID twice", []Found{found(1, 1, "a", 1), found(2, 2, "b", 1), found(3, 3, "c", 3, 1)}, "(1 3)(2)", "(2)(1 3)", "(1)(2)(3)"},
		{"a loop", []Found{found(1, 1, "a", 1, 2), found(2, 2, "b", 2, 1)}, "(2 1)", "(2 1)", "(1)(2)"},
		{"an answer to itself", []Found{found(1, 1, "a", 1, 1), found(2, 2, "b", 2, 1, 2)}, "(1)(2)", "(1)(2)", "(1)(2)"},
		{"replies to one subject", []Found{found(1, 2, "a", 1), found(2, 1, "Re: A", 2), found(3, 3, "re: a", 3)}, "(1 2)(3)", "(2)(1)(3)", "(2 1)(3)"},
		{"one subject twice", []Found{found(1, 1, "a", 1), found(2, 2, "a", 2), found(3, 3, "Re: a", 3)}, "((1)(2)(3))", "(1)(2)(3)", "(1 (2)(3))"},
		{"two replies of one subject", []Found{found(1, 1, "Re: a", 1), found(2, 2, "Re: a", 2)}, "((1)(2))", "(1)(2)", "(1 2)"},
		{"a dummy's subject", []Found{found(1, 1, "a", 1, 9), found(2, 2, "b", 2, 9), found(3, 3, "a", 3)}, "((1)(2)(3))", "((1)(2))(3)", "(1 3)(2)"},
		{"two dummies of one subject", []Found{
			found(1, 1, "a", 1, 9), found(2, 2, "b", 2, 9), found(3, 3, "a", 3, 8), found(4, 4, "c", 4, 8),
		}, "((1)(2)(3)(4))", "((1)(2))((3)(4))", "(1 3)(2)(4)"},
		{"no subjects", []Found{found(1, 1, "", 1), found(2, 2, "Re: ", 2)}, "(1)(2)", "(1)(2)", "(1 2)"},
		{"the newest thread", []Found{found(1, 1, "a", 1), found(2, 2, "b", 2), found(3, 3, "c", 3, 1)}, "(1 3)(2)", "(2)(1 3)", "(1)(2)(3)"},
		{"a better parent", []Found{found(1, 1, "a", 5, 1, 2, 3), found(2, 2, "b", 3, 1), found(3, 3, "c", 1), found(4, 4, "d", 2)}, "(3 2 1)(4)", "(3 2 1)(4)", "(1)(2)(3)(4)"},
		{"without a date", []Found{found(1, 5, "a", 1), {Num: 2, Arrival: 1, Overview: message.Overview{Subject: "b"}}}, "(2)(1)", "(2)(1)", "(2)(1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for algorithm, want := range map[imap.ThreadAlgorithm]string{
				imap.ThreadReferences: c.references, wire.ThreadRefs: c.refs, imap.ThreadOrderedSubject: c.bySubject,
			} {
				if have := threads(algorithm, c.list); have != want {
					t.Errorf("%s: have %s, want %s", algorithm, have, want)
				}
			}
		})
	}
}

// plain is REFERENCES as RFC 5256 has it, step by step, without regard to time.
type plain struct {
	found    *Found // nil: a dummy
	parent   *plain
	children []*plain
}

func (p *plain) date() (int64, uint32) {
	if p.found == nil {
		return p.children[0].date()
	}
	return p.found.sent(), p.found.Num
}

func (p *plain) subject() (string, bool) {
	if p.found == nil {
		return p.children[0].subject()
	}
	return string(fold(p.found.Overview.Subject)), p.found.Overview.Reply
}

func (p *plain) below(q *plain) bool {
	for ; p != nil; p = p.parent {
		if p == q {
			return true
		}
	}
	return false
}

func (p *plain) unlink() {
	if p.parent != nil {
		p.parent.children = slices.DeleteFunc(p.parent.children, func(c *plain) bool { return c == p })
		p.parent = nil
	}
}

func (p *plain) link(parent *plain) {
	p.unlink()
	p.parent = parent
	parent.children = append(parent.children, p)
}

func (p *plain) sort() {
	for _, c := range p.children {
		c.sort()
	}
	slices.SortFunc(p.children, func(a, b *plain) int {
		da, na := a.date()
		db, nb := b.date()
		if da != db {
			return int(da - db)
		}
		return int(na) - int(nb)
	})
}

func (p *plain) prune(root bool) []*plain {
	var kids []*plain
	for _, c := range p.children {
		kids = append(kids, c.prune(false)...)
	}
	p.children = kids
	for _, c := range kids {
		c.parent = p
	}
	if p.found == nil && (!root || len(kids) < 2) {
		return kids
	}
	return []*plain{p}
}

func (p *plain) write(b *strings.Builder) {
	b.WriteByte('(')
	for {
		if p.found != nil {
			fmt.Fprint(b, p.found.Num)
		}
		if len(p.children) != 1 {
			break
		}
		b.WriteByte(' ')
		p = p.children[0]
	}
	if p.found != nil && len(p.children) > 0 {
		b.WriteByte(' ')
	}
	for _, c := range p.children {
		c.write(b)
	}
	b.WriteByte(')')
}

func plainReferences(list []Found) string {
	byID := map[message.MessageID]*plain{}
	var all []*plain
	node := func(id message.MessageID) *plain {
		if byID[id] == nil {
			byID[id] = new(plain)
			all = append(all, byID[id])
		}
		return byID[id]
	}
	for i := range list {
		o := &list[i].Overview
		var parent *plain
		for _, id := range o.Refs {
			child := node(id)
			if parent != nil && child.parent == nil && !parent.below(child) {
				child.link(parent)
			}
			parent = child
		}
		var p *plain
		if o.ID != 0 {
			p = node(o.ID)
		}
		if p == nil || p.found != nil {
			p = new(plain)
			all = append(all, p)
		}
		p.found = &list[i]
		p.unlink()
		if parent != nil && !parent.below(p) {
			p.link(parent)
		}
	}
	roots := slices.DeleteFunc(all, func(p *plain) bool { return p.parent != nil })
	top := new(plain)
	for _, p := range roots {
		top.children = append(top.children, p.prune(true)...)
	}
	top.sort()
	plainSubjects(top)
	top.sort()
	var b strings.Builder
	for _, c := range top.children {
		c.write(&b)
	}
	return b.String()
}

func plainSubjects(top *plain) {
	table := map[string]*plain{}
	roots := slices.Clone(top.children)
	for _, p := range roots {
		subject, reply := p.subject()
		have := table[subject]
		if subject == "" {
			continue
		}
		if have == nil {
			table[subject] = p
		} else if _, r := have.subject(); have.found != nil && (p.found == nil || r && !reply) {
			table[subject] = p
		}
	}
	for _, p := range roots {
		subject, reply := p.subject()
		have := table[subject]
		if subject == "" || have == p {
			continue
		}
		_, r := have.subject()
		top.children = slices.DeleteFunc(top.children, func(c *plain) bool { return c == p })
		switch {
		case p.found == nil && have.found == nil:
			have.children = append(have.children, p.children...)
		case have.found == nil, reply && !r:
			have.children = append(have.children, p)
		default:
			both := &plain{children: []*plain{have, p}}
			top.children = slices.DeleteFunc(top.children, func(c *plain) bool { return c == have })
			top.children = append(top.children, both)
			table[subject] = both
		}
	}
}

// Of any messages REFERENCES makes what the RFC's own steps make.
func TestThreadsAgainstPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		n := 1 + r.IntN(12)
		list := make([]Found, n)
		for i := range list {
			var refs []message.MessageID
			for range r.IntN(5) {
				refs = append(refs, message.MessageID(1+r.IntN(n+3)))
			}
			subject := []string{"", "Re: ", "a", "Re: a", "A", "b", "Re: b"}[r.IntN(7)]
			list[i] = found(uint32(i+1), r.IntN(n), subject, message.MessageID(r.IntN(n+3)), refs...)
		}
		if have, want := threads(imap.ThreadReferences, list), plainReferences(list); have != want {
			t.Fatalf("%+v:\nhave %s\nwant %s", list, have, want)
		}
	}
}

// FuzzThreads holds that any messages become what the RFC's own steps make of
// them, and that each is told once. An octet is one message or one reference.
func FuzzThreads(f *testing.F) {
	f.Add([]byte("\x01\x82\x83\x02\x81\x03"))
	f.Add([]byte("\x01\x41\x81\x21\x82\x61\x83\x81"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var list []Found
		var refs []message.MessageID
		for _, c := range b[:min(len(b), 200)] {
			if c&0x80 != 0 {
				refs = append(refs, message.MessageID(c&0x1f+1))
				continue
			}
			subject := []string{"", "a", "Re: a", "Re: b"}[c>>5]
			list = append(list, found(uint32(len(list)+1), int(c)%7, subject, message.MessageID(c&0x1f), refs...))
			refs = nil
		}
		checkThreads(t, list)
		var have string
		oracle.Cost(t, len(b), func() { have = threads(imap.ThreadReferences, list) })
		if want := plainReferences(list); have != want {
			t.Errorf("have %s, want %s", have, want)
		}
	})
}

// hostileThreads makes n messages that have undone threading.
var hostileThreads = map[string]func(n int) []Found{
	"one chain": func(n int) (list []Found) {
		for i := 1; i <= n; i++ {
			list = append(list, found(uint32(i), i, "a", message.MessageID(i), message.MessageID(i-1+n*2*(1/i))))
		}
		return list
	},
	"one chain backwards": func(n int) (list []Found) {
		for i := 1; i <= n; i++ {
			list = append(list, found(uint32(i), n-i, "a", message.MessageID(n-i+1), message.MessageID(n-i+n*2*(i/n))))
		}
		return list
	},
	"a star": func(n int) (list []Found) {
		for i := 1; i <= n; i++ {
			list = append(list, found(uint32(i), i, "Re: a", message.MessageID(i+1), 1))
		}
		return list
	},
	"a comb": func(n int) (list []Found) {
		for i := 1; i <= n/2; i++ {
			id := message.MessageID(i)
			list = append(list, found(uint32(2*i-1), i, "a", id, id-1+1<<40*message.MessageID(1/i)), found(uint32(2*i), i, "b", id|1<<32, id))
		}
		return list
	},
	"a deep place that all move to": func(n int) (list []Found) {
		for i := 1; i <= n/3; i++ {
			list = append(list, found(uint32(i), i, "a", message.MessageID(i), message.MessageID(i-1+n*2*(1/i))))
		}
		for i := 1; i <= n/3; i++ {
			id := message.MessageID(i) | 1<<32
			list = append(list, found(uint32(n+2*i), i, "a", id|1<<33, id), found(uint32(n+2*i+1), i, "a", id, message.MessageID(n/3)))
		}
		return list
	},
	"links that are cut": func(n int) (list []Found) {
		for i := 0; i < n; i += 100 {
			refs := make([]message.MessageID, 101)
			for k := range refs {
				refs[k] = message.MessageID(1 + i + k)
			}
			list = append(list, found(uint32(i+1), i, "a", 0, refs...))
		}
		for i := 3; i <= n; i++ {
			list = append(list, found(uint32(n+i), i, "a", message.MessageID(i), message.MessageID(i-2)))
		}
		return list
	},
	"one subject": func(n int) (list []Found) {
		for i := 1; i <= n; i++ {
			list = append(list, found(uint32(i), i%7, "Re: a", message.MessageID(i)))
		}
		return list
	},
	"many dummies of one subject": func(n int) (list []Found) {
		for i := 1; i <= n; i++ {
			list = append(list, found(uint32(i), i%7, "a", message.MessageID(i), message.MessageID(i/2)|1<<32))
		}
		return list
	},
}

func TestHostileThreads(t *testing.T) {
	const n = 10_000
	for name, make := range hostileThreads {
		t.Run(name, func(t *testing.T) {
			for _, algorithm := range algorithms {
				for try := 0; ; try++ {
					one, four := threadTime(algorithm, make(n)), threadTime(algorithm, make(4*n))
					if four < 9*one+100*time.Millisecond { // the square would be seconds
						break
					}
					if try == 4 {
						t.Fatalf("%s: %d messages take %v, %d messages %v", algorithm, n, one, 4*n, four)
					}
				}
			}
			checkThreads(t, make(n/10))
			if os.Getenv("MAILSTEAD_HOSTILE") != "" {
				for _, algorithm := range algorithms {
					took := threadTime(algorithm, make(100_000))
					t.Logf("%s of 100,000 messages: %v", algorithm, took)
					if took > 3*time.Second {
						t.Error("that is too long")
					}
				}
			}
		})
	}
}

func threadTime(algorithm imap.ThreadAlgorithm, list []Found) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Hour
	for range 2 {
		start := used()
		threads(algorithm, list)
		best = min(best, used()-start)
	}
	return best
}

// used is the processor time of this thread.
func used() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// checkThreads holds what is true of every answer: each message stands in it
// once, and parentheses are closed and not too deep.
func checkThreads(t *testing.T, list []Found) {
	t.Helper()
	for _, algorithm := range algorithms {
		text := threads(algorithm, list)
		depth := 0
		for _, c := range text {
			switch c {
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth < 0 || depth > maxBranches {
				t.Fatalf("%s: depth %d in %.100s", algorithm, depth, text)
			}
		}
		nums := bytes.FieldsFunc([]byte(text), func(r rune) bool { return r < '0' || r > '9' })
		have := map[string]bool{}
		for _, n := range nums {
			have[string(n)] = true
		}
		if depth != 0 || len(nums) != len(list) || len(have) != len(list) {
			t.Errorf("%s: %d messages became %d numbers, %d different ones: %.200s", algorithm, len(list), len(nums), len(have), text)
		}
	}
}

package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// returning is a client with QRESYNC that keeps the mailbox while it is away. It goes by
// RFC 7162 §6: HIGHESTMODSEQ counts if it was told, else the highest MODSEQ.
type returning struct {
	*peer
	validity string
	highest  int
	last     int            // UID that it has seen
	flags    map[int]string // by UID
}

var (
	highestCode  = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	validityCode = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	vanishedLine = regexp.MustCompile(`^\* VANISHED (?:\(EARLIER\) )?(\S+)$`)
)

// run does a command, takes in what it tells, and fetches what is new.
func (c *returning) run(command string, args ...any) {
	c.take(c.do(command, args...))
	c.take(c.do("UID FETCH %d:* (FLAGS)", c.last+1))
}

func (c *returning) take(answer string) {
	told, code := 0, 0
	for line := range strings.Lines(answer) {
		line = strings.TrimSuffix(line, "\n")
		if m := highestCode.FindStringSubmatch(line); m != nil {
			code, _ = strconv.Atoi(m[1])
		}
		if m := vanishedLine.FindStringSubmatch(line); m != nil {
			for _, uid := range numbersOf(m[1]) {
				delete(c.flags, uid)
			}
		}
		if m := fetchLine.FindStringSubmatch(line); m != nil {
			if at := modseq.FindStringSubmatch(m[2]); at != nil {
				n, _ := strconv.Atoi(at[1])
				told = max(told, n)
			}
			uid, f := uidItem.FindStringSubmatch(m[2]), flagsItem.FindStringSubmatch(m[2])
			if uid != nil && f != nil {
				n, _ := strconv.Atoi(uid[1])
				c.flags[n] = flagText(strings.Fields(f[1]))
				c.last = max(c.last, n)
			}
		}
	}
	if code == 0 {
		code = max(c.highest, told)
	}
	c.highest = code
}

// TestResync has a client ask for this and that by NOTIFY while another one changes the
// mailbox. Whenever it comes back, it misses nothing (RFC 7162 §3.2).
func TestResync(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	other := s.connect()
	other.ok("SELECT INBOX")
	for range 10 {
		other.append("INBOX", "", hello)
	}
	c := &returning{peer: s.connect(), flags: map[int]string{}}
	c.ok("ENABLE QRESYNC")
	c.validity = validityCode.FindStringSubmatch(c.ok("SELECT INBOX"))[1]
	c.run("NOOP")
	rnd := rand.New(rand.NewPCG(5, 7))
	rounds := 2000
	if testing.Short() {
		rounds = 500
	}
	var log []string
	for range rounds {
		uid := 1
		if uids := slices.Sorted(maps.Keys(c.flags)); len(uids) > 0 {
			uid = uids[rnd.IntN(len(uids))]
		}
		op := []string{"+", "-"}[rnd.IntN(2)]
		switch rnd.IntN(4) {
		case 0:
			log = append(log, other.disturb(rnd, uid, op))
			continue
		case 1:
			command := fmt.Sprintf("SELECT INBOX (QRESYNC (%s %d))", c.validity, c.highest)
			c.run("%s", command)
			truth := &returning{peer: other, flags: map[int]string{}}
			truth.run("NOOP")
			if !maps.Equal(truth.flags, c.flags) {
				t.Fatalf("%s\n%s\nit has %v\nthere is %v", strings.Join(log[max(0, len(log)-30):], "\n"), command, c.flags, truth.flags)
			}
			log = append(log, command)
			continue
		}
		command := c.command(rnd, uid, op)
		log = append(log, command)
		c.run("%s", command)
	}
}

// disturb is what others do.
func (c *peer) disturb(rnd *rand.Rand, uid int, op string) string {
	switch rnd.IntN(4) {
	case 0:
		c.do(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid)
		c.do(`UID EXPUNGE %d`, uid)
		return fmt.Sprint("other: EXPUNGE ", uid)
	case 1:
		c.append("INBOX", "", hello)
		return "other: APPEND"
	}
	c.do(`UID STORE %d %sFLAGS.SILENT (\Flagged)`, uid, op)
	return fmt.Sprint("other: STORE ", uid, op)
}

// command is something that the client may say.
func (c *returning) command(rnd *rand.Rand, uid int, op string) string {
	switch rnd.IntN(8) {
	case 0:
		return "NOOP"
	case 1:
		return "FETCH 1 UID"
	case 2:
		return fmt.Sprintf("UID FETCH %d BODY[TEXT]", uid)
	case 3:
		return fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, uid)
	case 4:
		return "EXPUNGE"
	case 5:
		return "NOTIFY " + []string{
			"NONE", "SET (PERSONAL (MessageNew MessageExpunge))", "SET (SELECTED (MessageNew MessageExpunge))",
			"SET (SELECTED (MessageNew (FLAGS) MessageExpunge FlagChange))", "SET (SELECTED-DELAYED (MessageNew (UID) MessageExpunge))",
		}[rnd.IntN(5)]
	}
	return fmt.Sprintf(`UID STORE %d %sFLAGS (\Answered)`, uid, op)
}

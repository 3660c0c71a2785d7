package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// world is what the mailboxes should have, in the simplest form, and the clients
// that are to see it so.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	server  *server
	boxes   map[string]*worldBox
	clients []*worldClient
	n       int // messages so far; each has its number in its subject
	log     []string
}

type worldBox struct {
	dir      string
	messages []*worldMessage // in the order of UIDs; those without one last
	given    map[int]bool    // UIDs that messages have or had
}

type worldMessage struct {
	uid, n int // uid 0: no client has seen it
	flags  map[string]bool
}

// worldClient is a client that knows nothing but what it was told.
type worldClient struct {
	*peer
	name     string
	enabled  string    // "", CONDSTORE or QRESYNC
	box      *worldBox // nil: nothing is selected
	readOnly bool
	list     []toldMessage
}

// toldMessage is a message as a client was told of it.
type toldMessage struct {
	uid, n int // 0: not told yet
	flags  string
	modseq int
}

// TestModel does random things in several sessions and from outside. What each
// session is told must make up the mailbox as the model has it, after every
// command.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds := 5
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &world{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 3)), server: newServer(t), boxes: make(map[string]*worldBox)}
			for _, name := range []string{"INBOX", "Box"} {
				w.boxes[name] = &worldBox{dir: w.server.maildir, given: make(map[int]bool)}
			}
			w.boxes["Box"].dir = filepath.Join(w.server.maildir, ".Box")
			for i := range 4 {
				w.clients = append(w.clients, &worldClient{peer: w.server.connect(), name: fmt.Sprint("c", i)})
			}
			w.clients[0].ok("CREATE Box")
			for i, name := range []string{"CONDSTORE", "QRESYNC"} {
				w.clients[i+1].ok("ENABLE %s", name)
				w.clients[i+1].enabled = name
			}
			for range 300 {
				w.step()
				if t.Failed() {
					t.Log(strings.Join(w.log[max(0, len(w.log)-30):], "\n"))
					return
				}
			}
		})
	}
}

// step does one random thing.
func (w *world) step() {
	c := w.clients[w.rnd.IntN(len(w.clients))]
	if w.rnd.IntN(8) == 0 {
		w.outside()
		return
	}
	if c.box == nil || w.rnd.IntN(15) == 0 {
		w.open(c)
		return
	}
	ops := []func(*worldClient){w.append, w.append, w.store, w.store, w.store, w.copy, w.move, w.expunge, w.uidExpunge, w.fetch, w.search, w.noop, w.status, w.close}
	ops[w.rnd.IntN(len(ops))](c)
}

// run does a command, takes in what it tells, and compares. seq says that the
// command may not tell what is gone.
func (w *world) run(c *worldClient, seq bool, command string) string {
	w.t.Helper()
	w.log = append(w.log, c.name+" "+command)
	answer := c.do("%s", command)
	w.log = append(w.log, strings.Split(answer, "\n")...)
	c.take(answer)
	w.complete(c)
	w.compare(c, seq)
	return answer
}

var (
	countLine = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE)$`)
	fetchLine = regexp.MustCompile(`(?s)^\* (\d+) FETCH \((.*)\)$`)
	flagsItem = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	gone      = regexp.MustCompile(`^\* VANISHED (\S+)$`)
	modseq    = regexp.MustCompile(`MODSEQ \((\d+)\)`)
	uidItem   = regexp.MustCompile(`UID (\d+)`)
	subject   = regexp.MustCompile(`Subject: m(\d+)`)
)

// take takes in what responses tell of the mailbox. No literal of this test
// begins a line with a star.
func (c *worldClient) take(answer string) {
	for line := range strings.SplitSeq(answer, "\n* ") {
		line = strings.TrimSuffix("* "+strings.TrimPrefix(line, "* "), "\n")
		if i := strings.LastIndex(line, "\na "); i >= 0 {
			line = line[:i]
		}
		if m := countLine.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			if m[2] == "EXPUNGE" {
				if c.enabled == "QRESYNC" {
					c.t.Errorf("%s: %s", c.name, line)
				}
				c.list = slices.Delete(c.list, n-1, n)
			}
			for m[2] == "EXISTS" && len(c.list) < n {
				c.list = append(c.list, toldMessage{})
			}
		}
		if m := gone.FindStringSubmatch(line); m != nil {
			if c.enabled != "QRESYNC" {
				c.t.Errorf("%s: %s", c.name, line)
			}
			uids := numbersOf(m[1])
			c.list = slices.DeleteFunc(c.list, func(o toldMessage) bool { return slices.Contains(uids, o.uid) })
		}
		if m := fetchLine.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			c.takeFetch(&c.list[n-1], m[2])
		}
	}
}

func (c *worldClient) takeFetch(m *toldMessage, items string) {
	f, at := flagsItem.FindStringSubmatch(items), modseq.FindStringSubmatch(items)
	if at != nil {
		n, _ := strconv.Atoi(at[1])
		if n < m.modseq || n == m.modseq && f != nil && m.flags != flagText(strings.Fields(f[1])) {
			c.t.Errorf("%s: mod-sequence %d of %s after %d with %s", c.name, n, items, m.modseq, m.flags)
		}
		m.modseq = n
	}
	if f != nil {
		m.flags = flagText(strings.Fields(f[1]))
	}
	for re, to := range map[*regexp.Regexp]*int{uidItem: &m.uid, subject: &m.n} {
		if f := re.FindStringSubmatch(items); f != nil {
			n, _ := strconv.Atoi(f[1])
			if *to != 0 && *to != n {
				c.t.Errorf("%s: a message that was %d is %d", c.name, *to, n)
			}
			*to = n
		}
	}
}

func flagText(flags []string) string {
	flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	return strings.Join(flags, " ")
}

// complete asks for what a client does not know of new messages, and tells the
// model their UIDs.
func (w *world) complete(c *worldClient) {
	if c.box == nil {
		return
	}
	first := slices.IndexFunc(c.list, func(m toldMessage) bool { return m.uid == 0 || m.n == 0 })
	if first < 0 {
		return
	}
	answer := c.ok("FETCH %d:%d (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])", first+1, len(c.list))
	w.log = append(w.log, strings.Split(answer, "\n")...)
	c.take(answer)
	for _, m := range c.list[first:] {
		w.learn(c.box, m)
	}
}

func (w *world) learn(b *worldBox, m toldMessage) {
	w.t.Helper()
	for i, other := range b.messages {
		if other.n != m.n || other.uid != 0 && other.uid != m.uid {
			continue
		}
		if other.uid == 0 {
			if b.given[m.uid] {
				w.t.Errorf("uid %d is given for the second time", m.uid)
			}
			other.uid, b.given[m.uid] = m.uid, true
			b.messages = slices.Delete(b.messages, i, i+1)
			at := slices.IndexFunc(b.messages, func(o *worldMessage) bool { return o.uid == 0 || o.uid > m.uid })
			if at < 0 {
				at = len(b.messages)
			}
			b.messages = slices.Insert(b.messages, at, other)
		}
		return
	}
}

// compare holds what a client knows to the model.
func (w *world) compare(c *worldClient, seq bool) {
	w.t.Helper()
	if c.box == nil {
		return
	}
	var have, want []string
	for _, m := range c.list {
		if seq && !slices.ContainsFunc(c.box.messages, func(o *worldMessage) bool { return o.uid == m.uid }) {
			continue
		}
		have = append(have, fmt.Sprintf("%d m%d (%s)", m.uid, m.n, m.flags))
	}
	for _, m := range c.box.messages {
		want = append(want, fmt.Sprintf("%d m%d (%s)", m.uid, m.n, flagText(slices.Collect(maps.Keys(m.flags)))))
	}
	if !slices.Equal(have, want) {
		w.t.Errorf("%s was told\n%s\nthere is\n%s", c.name, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func (w *world) boxName() string { return []string{"INBOX", "Box"}[w.rnd.IntN(2)] }

func (w *world) open(c *worldClient) {
	name := w.boxName()
	c.box, c.list = nil, nil
	command := "SELECT "
	if c.readOnly = w.rnd.IntN(5) == 0; c.readOnly {
		command = "EXAMINE "
	}
	w.run(c, false, command+name)
	c.box = w.boxes[name]
	w.complete(c)
	w.compare(c, false)
}

func (w *world) close(c *worldClient) {
	command := []string{"CLOSE", "UNSELECT"}[w.rnd.IntN(2)]
	b := c.box
	c.box = nil
	w.run(c, false, command)
	if command == "CLOSE" && !c.readOnly {
		b.remove(func(m *worldMessage) bool { return m.flags[`\Deleted`] && c.knows(m) })
	}
	c.list = nil
}

// knows tells whether a client was told of a message. What it was not told of,
// it does not expunge.
func (c *worldClient) knows(m *worldMessage) bool {
	return slices.ContainsFunc(c.list, func(o toldMessage) bool { return o.uid == m.uid })
}

func (b *worldBox) remove(gone func(*worldMessage) bool) {
	b.messages = slices.DeleteFunc(b.messages, gone)
}

var appendUIDCode = regexp.MustCompile(`APPENDUID \d+ (\d+)`)

func (w *world) append(c *worldClient) {
	name, flags := w.boxName(), w.flags()
	w.n++
	text := fmt.Sprintf("Subject: m%d\r\n\r\n%s\r\n", w.n, strings.Repeat("x", w.rnd.IntN(300)))
	m := &worldMessage{n: w.n, flags: setOf(flags)}
	b := w.boxes[name]
	b.messages = append(b.messages, m)
	answer := c.do("APPEND %s (%s) {%d+}\r\n%s", name, strings.Join(flags, " "), len(text), text)
	w.log = append(w.log, c.name+" APPEND "+name, answer)
	uid := appendUIDCode.FindStringSubmatch(answer)
	if uid == nil {
		w.t.Errorf("APPEND: %s", answer)
		return
	}
	n, _ := strconv.Atoi(uid[1])
	w.learn(b, toldMessage{uid: n, n: w.n})
	c.take(answer)
	w.complete(c)
	w.compare(c, false)
}

var worldFlags = []string{`\Seen`, `\Deleted`, `\Flagged`, `\Answered`, "Work", "$Later"}

func (w *world) flags() []string {
	var flags []string
	for _, f := range worldFlags {
		if w.rnd.IntN(4) == 0 {
			flags = append(flags, f)
		}
	}
	return flags
}

func setOf(flags []string) map[string]bool {
	set := make(map[string]bool)
	for _, f := range flags {
		set[f] = true
	}
	return set
}

// pick chooses some of a client's messages: as a set by number or by UID, and those of the
// model. gone says that some of the numbers are of none any more; UIDs are passed over then.
func (w *world) pick(c *worldClient) (set string, uid bool, chosen []*worldMessage, gone bool) {
	uid = w.rnd.IntN(2) == 0
	var nums []string
	for i, m := range c.list {
		if w.rnd.IntN(3) != 0 {
			continue
		}
		if uid {
			nums = append(nums, fmt.Sprint(m.uid))
		} else {
			nums = append(nums, fmt.Sprint(i+1))
		}
		at := slices.IndexFunc(c.box.messages, func(o *worldMessage) bool { return o.uid == m.uid })
		if at < 0 {
			gone = !uid
		} else {
			chosen = append(chosen, c.box.messages[at])
		}
	}
	return strings.Join(nums, ","), uid, chosen, gone
}

func form(uid bool, command string) string {
	if uid {
		return "UID " + command
	}
	return command
}

func (w *world) store(c *worldClient) {
	set, uid, chosen, gone := w.pick(c)
	if set == "" {
		return
	}
	op := []string{"", "+", "-"}[w.rnd.IntN(3)]
	silent := []string{"", ".SILENT"}[w.rnd.IntN(2)]
	flags := w.flags()
	if !c.readOnly {
		for _, m := range chosen {
			if op == "" {
				m.flags = setOf(flags)
			}
			for _, f := range flags {
				if op == "-" {
					delete(m.flags, f)
				} else {
					m.flags[f] = true
				}
			}
		}
	}
	if silent != "" && !c.readOnly {
		// What it is not told of its own change, it knows.
		for i := range c.list {
			for _, m := range chosen {
				if m.uid == c.list[i].uid {
					c.list[i].flags = flagText(slices.Collect(maps.Keys(m.flags)))
				}
			}
		}
	}
	command := form(uid, fmt.Sprintf("STORE %s %sFLAGS%s (%s)", set, op, silent, strings.Join(flags, " ")))
	answer := w.run(c, !uid, command)
	if c.readOnly || gone {
		w.expect(answer, "NO")
		return
	}
	w.expect(answer, "OK")
}

func (w *world) expect(answer, status string) {
	w.t.Helper()
	if _, tagged, _ := cutLast(answer); !strings.HasPrefix(tagged, "a "+status) {
		w.t.Errorf("answer %q, want %s", tagged, status)
	}
}

func (w *world) copy(c *worldClient) { w.transfer(c, "COPY") }
func (w *world) move(c *worldClient) { w.transfer(c, "MOVE") }

var copyUIDCode = regexp.MustCompile(`COPYUID \d+ (\S+) (\S+)\]`)

func (w *world) transfer(c *worldClient, verb string) {
	set, uid, chosen, gone := w.pick(c)
	name := w.boxName()
	if set == "" || len(chosen) == 0 && !gone {
		return
	}
	command := form(uid, fmt.Sprintf("%s %s %s", verb, set, name))
	refused := gone || verb == "MOVE" && c.readOnly
	dest := w.boxes[name]
	if !refused {
		for _, m := range chosen {
			dest.messages = append(dest.messages, &worldMessage{n: m.n, flags: maps.Clone(m.flags)})
		}
		if verb == "MOVE" {
			c.box.remove(func(m *worldMessage) bool { return slices.Contains(chosen, m) })
		}
	}
	w.log = append(w.log, c.name+" "+command)
	answer := c.do("%s", command)
	w.log = append(w.log, strings.Split(answer, "\n")...)
	if refused {
		w.expect(answer, "NO")
	} else {
		w.copied(answer, dest, chosen)
	}
	c.take(answer)
	w.complete(c)
	w.compare(c, !uid && verb == "COPY")
}

// copied gives the copies the UIDs that COPYUID says.
func (w *world) copied(answer string, dest *worldBox, chosen []*worldMessage) {
	w.t.Helper()
	m := copyUIDCode.FindStringSubmatch(answer)
	if m == nil {
		w.t.Errorf("no COPYUID in %s", answer)
		return
	}
	source, target := numbersOf(m[1]), numbersOf(m[2])
	if len(source) != len(chosen) || len(target) != len(chosen) {
		w.t.Errorf("COPYUID of %d messages: %s", len(chosen), m[0])
		return
	}
	for i, from := range chosen {
		at := slices.Index(source, from.uid)
		if at < 0 {
			w.t.Errorf("COPYUID without %d: %s", from.uid, m[0])
			return
		}
		copies := dest.messages[len(dest.messages)-len(chosen):]
		copies[i].uid = target[at]
		if dest.given[target[at]] {
			w.t.Errorf("uid %d is given for the second time", target[at])
		}
		dest.given[target[at]] = true
	}
	slices.SortStableFunc(dest.messages, func(a, b *worldMessage) int {
		if a.uid == 0 || b.uid == 0 {
			return min(b.uid, 1) - min(a.uid, 1) // without a UID: last
		}
		return a.uid - b.uid
	})
}

func numbersOf(set string) []int {
	var nums []int
	for r := range strings.SplitSeq(set, ",") {
		from, to, ok := strings.Cut(r, ":")
		first, _ := strconv.Atoi(from)
		last := first
		if ok {
			last, _ = strconv.Atoi(to)
		}
		for n := first; n <= last; n++ {
			nums = append(nums, n)
		}
	}
	return nums
}

func (w *world) expunge(c *worldClient) {
	if !c.readOnly {
		c.box.remove(func(m *worldMessage) bool { return m.flags[`\Deleted`] && c.knows(m) })
	}
	answer := w.run(c, false, "EXPUNGE")
	w.expect(answer, map[bool]string{true: "NO", false: "OK"}[c.readOnly])
}

func (w *world) uidExpunge(c *worldClient) {
	if len(c.list) == 0 {
		return
	}
	uid := c.list[w.rnd.IntN(len(c.list))].uid
	if !c.readOnly {
		c.box.remove(func(m *worldMessage) bool { return m.uid != 0 && m.uid <= uid && m.flags[`\Deleted`] && c.knows(m) })
	}
	w.run(c, false, fmt.Sprintf("UID EXPUNGE 1:%d", uid))
}

func (w *world) fetch(c *worldClient) {
	set, uid, _, gone := w.pick(c)
	if set == "" {
		return
	}
	items := []string{"FLAGS", "(UID FLAGS RFC822.SIZE)", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"}
	item := w.rnd.IntN(len(items))
	answer := w.run(c, !uid, form(uid, "FETCH "+set+" "+items[item]))
	if item == 2 {
		w.expect(answer, map[bool]string{true: "NO", false: "OK"}[gone])
	}
}

// search compares with what the client knew before: the search is of that.
func (w *world) search(c *worldClient) {
	f := worldFlags[w.rnd.IntN(len(worldFlags))]
	key := "KEYWORD " + f
	if f[0] == '\\' {
		key = strings.ToUpper(f[1:])
	}
	not := w.rnd.IntN(2) == 0
	want := "* SEARCH"
	uid := w.rnd.IntN(2) == 0
	for i, m := range c.list {
		if slices.Contains(strings.Fields(m.flags), f) != not {
			want += fmt.Sprintf(" %d", map[bool]int{true: m.uid, false: i + 1}[uid])
		}
	}
	command := "SEARCH " + key
	if not {
		command = "SEARCH NOT " + key
	}
	answer := w.run(c, !uid, form(uid, command))
	if got, _, _ := strings.Cut(answer, "\n"); got != want {
		w.t.Errorf("%s: got %s, want %s", command, got, want)
	}
}

func (w *world) noop(c *worldClient) { w.run(c, false, []string{"NOOP", "CHECK"}[w.rnd.IntN(2)]) }

func (w *world) status(c *worldClient) {
	name := w.boxName()
	b := w.boxes[name]
	unseen, deleted := 0, 0
	for _, m := range b.messages {
		if !m.flags[`\Seen`] {
			unseen++
		}
		if m.flags[`\Deleted`] {
			deleted++
		}
	}
	want := fmt.Sprintf("(MESSAGES %d UNSEEN %d DELETED %d)", len(b.messages), unseen, deleted)
	answer := w.run(c, false, "STATUS "+name+" (MESSAGES UNSEEN DELETED)")
	if !strings.Contains(answer, want) {
		w.t.Errorf("got %s, want %s", answer, want)
	}
}

// outside does what other programs do to a Maildir, and lets every client find
// out.
func (w *world) outside() {
	name := w.boxName()
	b := w.boxes[name]
	switch op := w.rnd.IntN(3); {
	case op == 0 || len(b.messages) == 0:
		w.deliver(b)
	case op == 1:
		w.rename(b)
	default:
		w.unlink(b)
	}
	for _, c := range w.clients {
		if c.box != b {
			continue
		}
		deadline := time.Now().Add(10 * time.Second)
		for !w.settled(c) && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		w.run(c, false, "NOOP")
	}
	if !slices.ContainsFunc(w.clients, func(c *worldClient) bool { return c.box == b }) {
		// Someone has to give new messages their UIDs before another is moved there.
		c := w.clients[0]
		c.box, c.list, c.readOnly = nil, nil, false
		w.run(c, false, "SELECT "+name)
		c.box = b
		w.complete(c)
		w.compare(c, false)
	}
}

// settled tells whether NOOP has told a client of all that was done outside.
func (w *world) settled(c *worldClient) bool {
	c.take(c.ok("NOOP"))
	w.complete(c)
	if len(c.list) != len(c.box.messages) {
		return false
	}
	for i, m := range c.box.messages {
		if c.list[i].flags != flagText(slices.Collect(maps.Keys(m.flags))) {
			return false
		}
	}
	return true
}

func (w *world) deliver(b *worldBox) {
	w.n++
	w.log = append(w.log, fmt.Sprintf("deliver m%d", w.n))
	name := fmt.Sprintf("%d.M%dP1.outside", time.Now().Unix(), w.n)
	tmp := filepath.Join(b.dir, "tmp", name)
	if err := os.WriteFile(tmp, fmt.Appendf(nil, "Subject: m%d\n\ntext\n", w.n), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(b.dir, "new", name)); err != nil {
		w.t.Fatal(err)
	}
	b.messages = append(b.messages, &worldMessage{n: w.n, flags: make(map[string]bool)})
}

// file finds the file of a message by what is in it.
func (w *world) file(b *worldBox, m *worldMessage) string {
	want := fmt.Sprintf("Subject: m%d\n", m.n)
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(b.dir, sub))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			path := filepath.Join(b.dir, sub, e.Name())
			if data, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(data), want) {
				return path
			}
		}
	}
	return ""
}

// alone picks a message of which there is one copy, so that its file is known.
func (w *world) alone(b *worldBox) (*worldMessage, string) {
	m := b.messages[w.rnd.IntN(len(b.messages))]
	n := 0
	for _, o := range b.messages {
		if o.n == m.n {
			n++
		}
	}
	path := w.file(b, m)
	if n > 1 || path == "" {
		return nil, ""
	}
	return m, path
}

func (w *world) rename(b *worldBox) {
	m, path := w.alone(b)
	if m == nil {
		return
	}
	base, _, _ := strings.Cut(filepath.Base(path), ":")
	w.log = append(w.log, fmt.Sprintf("m%d gets F alone", m.n))
	if err := os.Rename(path, filepath.Join(b.dir, "cur", base+":2,F")); err != nil {
		w.t.Fatal(err)
	}
	for _, f := range worldFlags {
		if f[0] == '\\' {
			delete(m.flags, f)
		}
	}
	m.flags[`\Flagged`] = true
}

func (w *world) unlink(b *worldBox) {
	m, path := w.alone(b)
	if m == nil {
		return
	}
	w.log = append(w.log, fmt.Sprintf("m%d is unlinked", m.n))
	if err := os.Remove(path); err != nil {
		w.t.Fatal(err)
	}
	b.remove(func(o *worldMessage) bool { return o == m })
}

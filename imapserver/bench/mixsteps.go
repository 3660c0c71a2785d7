package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// steps is what a client may do next, and how often.
var steps = []struct {
	weight int
	run    func(*worker) error
}{
	{14, (*worker).fetchSome},
	{6, (*worker).fetchIdentity},
	{10, (*worker).storeKeyword},
	{6, (*worker).storeFlag},
	{8, (*worker).search},
	{12, (*worker).append},
	{4, (*worker).copySome},
	{4, (*worker).moveSome},
	{12, (*worker).remove},
	{8, simple("EXPUNGE")},
	{5, simple("NOOP")},
	{2, simple("CHECK")},
	{3, simple(`LIST "" *`)},
	{4, (*worker).status},
	{3, (*worker).idle},
	{5, (*worker).selectBox},
	{2, (*worker).close},
}

func simple(command string) func(*worker) error {
	return func(w *worker) error {
		_, err := w.exec(command)
		return err
	}
}

// step does one thing, and asks what is new where something is.
func (w *worker) step() error {
	if i := slices.Index(w.view.uids, 0); i >= 0 && w.rand.Intn(2) == 0 {
		return w.learn(i + 1)
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	at := w.rand.Intn(total)
	for _, s := range steps {
		if at -= s.weight; at < 0 {
			return s.run(w)
		}
	}
	return nil
}

func (w *worker) fetchSome() error {
	numbers, _ := w.some(1 + w.rand.Intn(5))
	if len(numbers) == 0 {
		return nil
	}
	items := []string{"(UID FLAGS)", "(ENVELOPE)", "(BODYSTRUCTURE)", "(BODY.PEEK[HEADER])", "(UID BODY[])", "(RFC822.SIZE INTERNALDATE)"}
	return w.fetch(set(numbers), numbers, items[w.rand.Intn(len(items))])
}

func (w *worker) fetchIdentity() error {
	numbers, _ := w.some(1 + w.rand.Intn(5))
	if len(numbers) == 0 {
		return nil
	}
	w.c.keep = true
	defer func() { w.c.keep = false }()
	return w.fetch(set(numbers), numbers, "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
}

// storeKeyword gives messages the keyword that is this client's own, or takes
// it away.
func (w *worker) storeKeyword() error {
	numbers, uids := w.some(1 + w.rand.Intn(3))
	if len(numbers) == 0 {
		return nil
	}
	want := w.rand.Intn(2) == 0
	for _, uid := range uids {
		delete(w.view.has, uid)
	}
	command := fmt.Sprintf("STORE %s %s%s (%s)", set(numbers), sign(want), [...]string{"FLAGS", "FLAGS.SILENT"}[w.rand.Intn(2)], w.keyword)
	if w.rand.Intn(2) == 0 {
		command = "UID " + strings.Replace(command, set(numbers), set(uids), 1)
	}
	_, err := w.exec(command)
	for _, uid := range uids {
		if was, told := w.view.has[uid]; err == nil && told && was != want && !w.view.box.isDoomed(uid) {
			return fmt.Errorf("%s: UID %d is told to have it: %v", command, uid, was)
		}
		if delete(w.view.has, uid); err == nil {
			w.view.has[uid] = want
		}
	}
	return w.forgiven(err, uids)
}

// forgiven is excused by UIDs.
func (w *worker) forgiven(err error, uids []uint32) error {
	var refused errRefused
	if errors.As(err, &refused) && slices.ContainsFunc(uids, w.view.box.isDoomed) {
		return nil
	}
	return err
}

func sign(plus bool) string {
	if plus {
		return "+"
	}
	return "-"
}

func (w *worker) storeFlag() error {
	numbers, uids := w.some(1 + w.rand.Intn(3))
	if len(numbers) == 0 {
		return nil
	}
	flag := []string{`\Seen`, `\Flagged`, `\Answered`}[w.rand.Intn(3)]
	_, err := w.exec("STORE " + set(numbers) + " " + sign(w.rand.Intn(2) == 0) + "FLAGS (" + flag + ")")
	return w.forgiven(err, uids)
}

func (w *worker) search() error {
	command := "SEARCH KEYWORD " + w.keyword
	if w.rand.Intn(3) == 0 {
		command = []string{"SEARCH UNSEEN", "SEARCH SUBJECT " + w.corpus.Word(40), "SEARCH ALL"}[w.rand.Intn(3)]
	}
	_, err := w.exec(command)
	return err
}

func (w *worker) append() error {
	b := w.box()
	top := b.highest()
	w.appended++
	id := fmt.Sprintf("<%d.%d.%d@mix.example>", w.Seed, w.number, w.appended)
	text := append([]byte("X-Mix: 1\r\nMessage-ID: "+id+"\r\nSubject: "+w.corpus.Word(w.rand.Intn(60))+"\r\n\r\n"), make([]byte, 0, 2000)...)
	for len(text) < 1000+w.rand.Intn(1000) {
		text = append(text, w.corpus.Word(w.rand.Intn(2000))+" and so on and so forth\r\n"...)
	}
	command := fmt.Sprintf("APPEND %s {%d}", b.name, len(text))
	tag, err := w.c.send(command)
	if err != nil {
		return err
	}
	if err := w.proceed(command); err != nil {
		return err
	}
	w.c.w.Write(text)
	w.c.w.WriteString("\r\n")
	if err := w.c.w.Flush(); err != nil {
		return err
	}
	answer, err := w.wait(tag, command)
	if err != nil {
		return err
	}
	f := strings.Fields(string(after([]byte(answer), "[APPENDUID ")))
	if len(f) < 2 {
		return fmt.Errorf("%s: no APPENDUID: %s", command, answer)
	}
	if err := b.added(number([]byte(f[1])), top, id); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// proceed waits for a continuation request.
func (w *worker) proceed(command string) error {
	for {
		line, err := w.c.readResponse()
		if err != nil || line[0] == '+' {
			return err
		}
		if line[0] != '*' {
			return fmt.Errorf("%s: %s", command, line)
		}
		if err := w.view.take(command, line); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
}

func (w *worker) copySome() error { return w.transfer("COPY") }
func (w *worker) moveSome() error { return w.transfer("MOVE") }

// transfer copies or moves messages to another mailbox.
func (w *worker) transfer(verb string) error {
	to := w.box()
	numbers, uids := w.some(1 + w.rand.Intn(3))
	if len(numbers) == 0 || to == w.view.box {
		return nil
	}
	from, top := w.view.box, to.highest()
	if verb == "MOVE" {
		from.doom(uids)
	}
	answer, err := w.exec("UID " + verb + " " + set(uids) + " " + to.name)
	if err != nil {
		return w.forgiven(err, uids)
	}
	f := strings.Fields(strings.ReplaceAll(string(after([]byte(answer), "[COPYUID ")), "]", " "))
	if len(f) < 3 {
		if slices.ContainsFunc(uids, from.isDoomed) {
			return nil
		}
		return fmt.Errorf("%s: no COPYUID: %s", verb, answer)
	}
	source, target := expand(f[1]), expand(f[2])
	if len(source) != len(target) {
		return fmt.Errorf("%s: COPYUID of %s and %s", verb, f[1], f[2])
	}
	for i, uid := range target {
		from.mu.Lock()
		id := from.id[source[i]]
		from.mu.Unlock()
		if from.isDoomed(source[i]) { // the copy has \Deleted, too
			to.doom([]uint32{uid})
		}
		if err := to.added(uid, top, id); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
	}
	return nil
}

// expand is the UIDs of a set without "*".
func expand(set string) []uint32 {
	var list []uint32
	for part := range strings.SplitSeq(set, ",") {
		first, last, ok := strings.Cut(part, ":")
		a, _ := strconv.ParseUint(first, 10, 32)
		b := a
		if ok {
			b, _ = strconv.ParseUint(last, 10, 32)
		}
		for a, b = min(a, b), max(a, b); a <= b && len(list) < 1000; a++ {
			list = append(list, uint32(a))
		}
	}
	return list
}

// remove marks messages as deleted, more of them where there are many.
func (w *worker) remove() error {
	numbers, uids := w.some(1 + len(w.view.uids)/15)
	if len(numbers) == 0 {
		return nil
	}
	w.view.box.doom(uids)
	_, err := w.exec("STORE " + set(numbers) + ` +FLAGS.SILENT (\Deleted)`)
	return w.forgiven(err, uids)
}

func (w *worker) status() error {
	_, err := w.exec("STATUS " + w.box().name + " (MESSAGES UNSEEN UIDNEXT)")
	return err
}

func (w *worker) idle() error {
	tag, err := w.c.send("IDLE")
	if err != nil {
		return err
	}
	if err := w.proceed("IDLE"); err != nil {
		return err
	}
	time.Sleep(time.Duration(w.rand.Intn(5)) * time.Millisecond)
	w.c.w.WriteString("DONE\r\n")
	if err := w.c.w.Flush(); err != nil {
		return err
	}
	_, err = w.wait(tag, "IDLE")
	return err
}

// close expunges without telling, and selects again.
func (w *worker) close() error {
	if _, err := w.exec("CLOSE"); err != nil {
		return err
	}
	w.view = nil
	return w.selectBox()
}

// opened is a client that is alone with a user's mailboxes.
func (m *Mix) opened(user string) (*worker, error) {
	w := &worker{Mix: m, user: user, has: map[*box]map[uint32]bool{}, keyword: "$none"}
	var err error
	if w.c, err = dial(Source(int(m.Sessions.Add(1))), m.Address, nil, 8<<10); err != nil {
		return nil, err
	}
	if _, err = w.exec("LOGIN " + user + " " + m.Password); err != nil {
		w.c.Close()
	}
	return w, err
}

// begin makes the mailboxes, and has nothing in them that is about to be removed.
func (m *Mix) begin(user string) error {
	w, err := m.opened(user)
	if err != nil {
		return err
	}
	defer w.c.Close()
	for _, name := range m.Boxes {
		if name != "INBOX" {
			w.exec("CREATE " + name) // or it is there
		}
		if err := w.c.Exec("SELECT "+name, nil); err != nil {
			return err
		}
		if err := w.c.Exec("CLOSE", nil); err != nil { // which expunges
			return err
		}
		if err := w.selectThe(m.boxes[user+" "+name]); err != nil {
			return err
		}
		w.view = nil
	}
	return nil
}

// finish looks at what a user's mailboxes hold after all.
func (m *Mix) finish(user string) error {
	w, err := m.opened(user)
	if err != nil {
		return err
	}
	defer w.c.Close()
	for _, name := range m.Boxes {
		b := m.boxes[user+" "+name]
		if err := w.selectThe(b); err != nil {
			return err
		}
		w.c.keep = true
		if err := w.fetch("1:*", span(1, len(w.view.uids)), "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"); err != nil && len(w.view.uids) > 0 {
			return err
		}
		w.c.keep = false
		for _, err := range b.faults(w.view.uids) {
			m.fault(fmt.Errorf("%s: %w", user, err))
		}
	}
	return nil
}

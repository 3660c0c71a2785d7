package bench

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Mix is clients that do one thing after another, in random order, on mailboxes
// that they share, and check all that they are told.
type Mix struct {
	Address  string
	Clients  int
	Users    []string
	Boxes    []string // of each user; they are made where they are not there
	Password string
	Seed     int64
	Sources  int // addresses that the sessions come from; 0: each from another

	Commands atomic.Int64 // answered
	Refused  atomic.Int64 // of them with NO
	Sessions atomic.Int64

	mu     sync.Mutex
	faults []error
	boxes  map[string]*box // by user and name
	corpus *Corpus
}

// Run lets the clients work for that long, and then looks whether everything is
// there that has to be. The errors are what the server has done wrong, a hundred
// at most.
func (m *Mix) Run(d time.Duration) []error {
	m.boxes, m.corpus = map[string]*box{}, NewCorpus(m.Seed)
	for _, user := range m.Users {
		for _, name := range m.Boxes {
			m.boxes[user+" "+name] = newBox(name)
		}
	}
	for _, user := range m.Users {
		if err := m.begin(user); err != nil {
			return []error{fmt.Errorf("at the beginning, %s: %w", user, err)}
		}
	}
	end := time.Now().Add(d)
	var done sync.WaitGroup
	for k := range m.Clients {
		w := &worker{Mix: m, number: k, user: m.Users[k%len(m.Users)], rand: rand.New(rand.NewSource(m.Seed + int64(k))), has: map[*box]map[uint32]bool{}}
		w.keyword = fmt.Sprint("$c", k/len(m.Users))
		done.Go(func() {
			for time.Now().Before(end) {
				if err := w.session(end); err != nil {
					m.fault(fmt.Errorf("client %d of %s: %w", k, w.user, err))
				}
			}
		})
	}
	done.Wait()
	for _, user := range m.Users {
		if err := m.finish(user); err != nil {
			m.fault(fmt.Errorf("at the end, %s: %w", user, err))
		}
	}
	return m.faults
}

func (m *Mix) fault(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.faults) < 100 {
		m.faults = append(m.faults, err)
	}
}

// worker is a client, over all of its connections.
type worker struct {
	*Mix
	number   int
	user     string
	keyword  string
	rand     *rand.Rand
	has      map[*box]map[uint32]bool
	appended int

	c    *Client
	view *view // nil: nothing is selected
}

// errRefused is a NO.
type errRefused string

func (e errRefused) Error() string { return string(e) }

// exec runs a command and checks what comes of it. It gives the text of the
// tagged response.
func (w *worker) exec(command string) (string, error) {
	tag, err := w.c.send(command)
	if err != nil {
		return "", err
	}
	return w.wait(tag, command)
}

func (w *worker) wait(tag, command string) (string, error) {
	var copied string
	for {
		line, err := w.c.readResponse()
		if err != nil {
			return "", fmt.Errorf("%.60s: %w", command, err)
		}
		if i := after(line, "[COPYUID "); i != nil {
			copied = string(line)
		}
		text, ok := strings.CutPrefix(string(line), tag+" ")
		if !ok {
			if err := w.view.take(command, line); err != nil {
				return "", fmt.Errorf("%.60s: %w", command, err)
			}
			continue
		}
		w.Commands.Add(1)
		switch {
		case strings.HasPrefix(text, "OK"):
			if copied != "" {
				text = copied
			}
			return text, nil
		case strings.HasPrefix(text, "NO"):
			w.Refused.Add(1)
			return "", errRefused(command + ": " + text)
		}
		return "", fmt.Errorf("%.60s: %s", command, text)
	}
}

// session is one connection: a login, some commands, and most often a logout.
func (w *worker) session(end time.Time) error {
	n := int(w.Sessions.Add(1))
	if w.Mix.Sources > 0 {
		n %= w.Mix.Sources
	}
	c, err := dial(Source(n), w.Address, nil, 8<<10)
	if err != nil {
		return err
	}
	defer c.Close()
	w.c, w.view = c, nil
	if _, err := w.exec("LOGIN " + w.user + " " + w.Password); err != nil {
		return err
	}
	if err := w.selectBox(); err != nil {
		return err
	}
	for range w.rand.Intn(12) {
		if time.Now().After(end) {
			break
		}
		if err := w.step(); err != nil {
			return err
		}
	}
	if w.rand.Intn(10) == 0 { // others drop the connection
		return nil
	}
	_, err = w.exec("LOGOUT")
	return err
}

func (w *worker) box() *box { return w.boxes[w.user+" "+w.Boxes[w.rand.Intn(len(w.Boxes))]] }

// selectBox selects a mailbox.
func (w *worker) selectBox() error { return w.selectThe(w.box()) }

// selectThe selects a mailbox and asks for all UIDs and flags.
func (w *worker) selectThe(b *box) error {
	top := b.highest()
	if w.has[b] == nil {
		w.has[b] = map[uint32]bool{}
	}
	w.view = &view{box: b, keyword: w.keyword, has: w.has[b]}
	var validity uint64
	var next uint32
	tag, err := w.c.send("SELECT " + b.name)
	if err != nil {
		return err
	}
	err = w.c.wait(tag, "SELECT "+b.name, func(line []byte) {
		if s := after(line, "[UIDVALIDITY "); s != nil {
			validity = uint64(number(s))
		}
		if s := after(line, "[UIDNEXT "); s != nil {
			next = number(s)
		}
		if err := w.view.take("SELECT", line); err != nil {
			w.fault(err)
		}
	})
	if err != nil {
		return err
	}
	w.Commands.Add(1)
	b.mu.Lock()
	if b.validity == 0 { // by begin
		b.validity, b.start = validity, max(next, 1)-1
	}
	was := b.validity
	b.mu.Unlock()
	switch {
	case was != validity:
		return fmt.Errorf("UIDVALIDITY of %s was %d and is %d", b.name, was, validity)
	case next <= top:
		return fmt.Errorf("UIDNEXT of %s is %d, after %d was given out", b.name, next, top)
	}
	return w.learn(1)
}

// learn asks for the UIDs and flags from a message on.
func (w *worker) learn(from int) error {
	if from > len(w.view.uids) {
		return nil
	}
	return w.fetch(fmt.Sprintf("%d:%d", from, len(w.view.uids)), span(from, len(w.view.uids)), "(UID FLAGS)")
}

func span(from, to int) []int {
	var list []int
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

// fetch wants to hear of every message that nobody is removing.
func (w *worker) fetch(set string, numbers []int, items string) error {
	w.view.answers = map[int]bool{}
	_, err := w.exec("FETCH " + set + " " + items)
	answers := w.view.answers
	w.view.answers = nil
	for _, n := range numbers {
		if uid := w.view.uids[n-1]; !answers[n] && !w.view.box.isDoomed(uid) {
			return fmt.Errorf("FETCH %s: nothing of message %d, UID %d, %v", set, n, uid, err)
		}
	}
	return w.excused(err, numbers)
}

// excused forgives a NO where somebody is removing one of the messages.
func (w *worker) excused(err error, numbers []int) error {
	var refused errRefused
	if errors.As(err, &refused) && slices.ContainsFunc(numbers, func(n int) bool {
		return n > len(w.view.uids) || w.view.box.isDoomed(w.view.uids[n-1])
	}) {
		return nil
	}
	return err
}

// some is up to n messages whose UIDs are known, as numbers and UIDs.
func (w *worker) some(n int) (numbers []int, uids []uint32) {
	for range n {
		if len(w.view.uids) == 0 {
			break
		}
		k := w.rand.Intn(len(w.view.uids))
		if uid := w.view.uids[k]; uid != 0 && !slices.Contains(uids, uid) {
			numbers, uids = append(numbers, k+1), append(uids, uid)
		}
	}
	return numbers, uids
}

func set[T int | uint32](list []T) string {
	var b []byte
	for _, n := range list {
		b = strconv.AppendInt(append(b, ','), int64(n), 10)
	}
	return string(b[1:])
}

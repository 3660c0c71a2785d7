package kind

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// identity is who owns mail.
type identity struct{ uid, gid int }

func (id identity) String() string { return fmt.Sprintf("%d:%d", id.uid, id.gid) }

func parseIdentity(owner string) (id identity, err error) {
	if n, err := fmt.Sscanf(owner, "%d:%d", &id.uid, &id.gid); n != 2 || err != nil || id.uid < 0 || id.gid < 0 || id.String() != owner {
		return id, fmt.Errorf("owner %q: want uid:gid", owner)
	}
	return id, nil
}

// mailRequest is what a helper is asked: what is there of some mail (Asks), to make
// some as it is wanted, or to see to it that what was made so far survives a power
// cut.
type mailRequest struct {
	Asks []mailThing `json:"asks,omitempty"`
	Make []mailThing `json:"make,omitempty"`
	Sync bool        `json:"sync,omitempty"`
	Scan *scanAsk    `json:"scan,omitempty"` // what is wrong with the messages
	Way  string      `json:"way,omitempty"`  // the path of a Maildir: what is on the way to it

	Untouched *mailThing `json:"untouched,omitempty"` // a Maildir: whether it is as an apply makes it
}

// mailThing is a resource as it goes to the helper: there are a hundred thousand
// on a large host, and a helper has no use for impacts and origins.
type mailThing struct {
	Kind   string      `json:"kind"`
	Name   string      `json:"name"`
	Attrs  [][2]string `json:"attrs"`            // names and values
	Placed bool        `json:"placed,omitempty"` // it needs a directory that is made for it
}

func newMailThing(r *reconcile.Resource) mailThing {
	t := mailThing{Kind: r.Ref.Kind, Name: r.Ref.Name, Attrs: make([][2]string, len(r.Attrs)), Placed: len(r.Needs) > 0}
	for i, a := range r.Attrs {
		t.Attrs[i] = [2]string{a.Name, a.Value}
	}
	return t
}

// get gives the value of an attribute, "" if there is none of that name.
func (t mailThing) get(name string) string {
	for _, a := range t.Attrs {
		if a[0] == name {
			return a[1]
		}
	}
	return ""
}

// mailAnswer is what it says. The user whose uid it runs with may have forged
// it, so it is used for nothing but that user's resources.
type mailAnswer struct {
	Seen []mailSeen `json:"seen,omitempty"`
	Made []string   `json:"made,omitempty"` // of each of Make what was wrong, or ""
	Scan *Scan      `json:"scan,omitempty"`
	Way  []WayStep  `json:"way,omitempty"`

	Untouched bool `json:"untouched,omitempty"`

	Error string `json:"error,omitempty"`
}

// mailSeen is what there is: the values that are not as they were asked for.
type mailSeen struct {
	There  bool        `json:"there,omitempty"`
	Values [][2]string `json:"values,omitempty"`
	Error  string      `json:"error,omitempty"`

	err error // in the helper
}

// differ notes a value if it is not the one asked for.
func (s *mailSeen) differ(ask mailThing, name, value string) {
	if ask.get(name) != value {
		s.Values = append(s.Values, [2]string{name, value})
	}
}

// mayAnswer is how many octets root reads of the answer: several times what an honest one has.
func (q mailRequest) mayAnswer() int {
	return 256<<10 + (8<<10)*(len(q.Asks)+len(q.Make))
}

// Answers bounds the JSON that root takes from a process that is in a user's hands.
type Answers struct {
	from           io.Reader
	octets, values int
}

// NewAnswers reads from that process, once Allow has said how much.
func NewAnswers(from io.Reader) *Answers { return &Answers{from: from} }

// Allow lets in so many octets from now on, and one value for each 16 of them: "{}," may
// take a hundred octets of memory.
func (a *Answers) Allow(octets int) { a.octets, a.values = octets, octets/16 }

// errAnswers is an end before the end that the process wants.
var errAnswers = fmt.Errorf("more than is taken of an answer: %w", io.ErrUnexpectedEOF)

func (a *Answers) Read(p []byte) (int, error) {
	if a.octets == 0 {
		return 0, errAnswers
	}
	n, err := a.from.Read(p[:min(len(p), a.octets)])
	a.octets -= n
	for _, c := range p[:n] {
		if c == ',' || c == '[' || c == '{' { // where a value begins; or of a string, which has few
			a.values--
		}
	}
	if a.values < 0 {
		return 0, errAnswers
	}
	return n, err
}

// helperTimeout bounds one request; a home directory may be on a server that is gone.
const helperTimeout = 2 * time.Minute

// helper is a process that has dropped to a user's uid.
type helper struct {
	id      identity
	dirty   bool // it has made changes that are not synced
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	from    io.ReadCloser
	answers *Answers
	out     *json.Decoder
	log     *Head
}

// Head keeps the beginning of what is written to it.
type Head struct {
	Most int // octets
	mu   sync.Mutex
	text []byte
}

func (h *Head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, p[:min(len(p), h.Most-len(h.text))]...)
	return len(p), nil
}

func (h *Head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}

// startHelper starts this program's helper as somebody else: no groups, no
// capabilities, no way to gain any, and nothing of the environment.
func startHelper(command []string, id identity) (*helper, error) {
	if id.uid == 0 {
		return nil, errors.New("mail of uid 0 needs no helper")
	}
	if command == nil {
		// Not by its name: the user may be unable to look into the directory
		// that it lies in.
		command = []string{"/proc/self/exe", "as-user"}
	}
	h := &helper{id: id, cmd: exec.Command(command[0], command[1:]...), log: &Head{Most: 4096}}
	h.cmd.Dir = "/"
	h.cmd.Env = []string{"PATH=" + programPath}
	h.cmd.Stderr = h.log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(id.uid), Gid: uint32(id.gid), Groups: []uint32{}},
		Setsid:     true, // an interrupt from the terminal is for the parent, which finishes the change
	}
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if h.from, err = h.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	h.cmd.WaitDelay = time.Second // somebody else may have the other end of its log
	h.answers = NewAnswers(h.from)
	h.out = json.NewDecoder(h.answers)
	if err := startNoNewPrivs(h.cmd); err != nil {
		return nil, err
	}
	return h, nil
}

// startNoNewPrivs starts a command from a thread that can gain no privileges by
// exec, and ends that thread.
func startNoNewPrivs(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			result <- fmt.Errorf("give up privileges: %w", err)
			return
		}
		result <- cmd.Start()
	}()
	return <-result
}

// call asks the helper and waits for its answer.
func (h *helper) call(ctx context.Context, q mailRequest, patience time.Duration) (mailAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, h.abandon)()
	var a mailAnswer
	err := json.NewEncoder(h.stdin).Encode(q)
	if err == nil {
		h.answers.Allow(q.mayAnswer())
		err = h.out.Decode(&a)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return a, err
}

// abandon kills the helper, and closes our ends of its pipes: one that waits in a file
// system that its user serves (FUSE) cannot be killed, and keeps the others open.
func (h *helper) abandon() {
	h.cmd.Process.Kill()
	h.stdin.Close()
	h.from.Close()
}

// helperEnd is how long a helper may take to end by itself.
const helperEnd = 5 * time.Second

// end ends the helper, and gives what it has to say for itself. One that cannot be
// killed is not waited for.
func (h *helper) end() string {
	h.stdin.Close()
	defer time.AfterFunc(helperEnd, h.abandon).Stop()
	ended := make(chan struct{})
	go func() {
		h.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(helperEnd + 2*h.cmd.WaitDelay):
		return ""
	}
	text, _, _ := strings.Cut(strings.TrimSpace(h.log.String()), "\n")
	return text
}

// inProcess tells whether this process looks after the mail itself: because it
// is its owner's, or because it may not become anybody else. Then looking may
// still succeed; changing will not, and says so.
func inProcess(id identity) bool { return os.Geteuid() != 0 || id.uid == 0 }

// mail answers a request as the owner of the mail.
func (h *Host) mail(ctx context.Context, id identity, q mailRequest) (mailAnswer, error) {
	if inProcess(id) {
		return h.worker.answer(q), nil
	}
	if h.helper == nil || h.helper.id != id {
		if err := h.change(ctx, id); err != nil {
			return mailAnswer{}, err
		}
	}
	p := h.helper
	p.dirty = p.dirty && !q.Sync || len(q.Make) > 0
	a, err := p.call(ctx, q, cmp.Or(h.Patience, helperTimeout))
	if err != nil {
		err = fmt.Errorf("helper as uid %d: %w", id.uid, err)
		if text := h.drop(); text != "" {
			err = fmt.Errorf("%w (it says %q)", err, text)
		}
		if p.dirty {
			h.lose(id, err)
		}
	}
	return a, err
}

// change ends the helper of another user, once what it did is synced, and starts
// one for this user.
func (h *Host) change(ctx context.Context, id identity) error {
	if h.helper != nil && h.helper.dirty {
		last := h.helper.id
		if err := h.sync(ctx, last); err != nil {
			h.lose(last, err)
		}
	}
	h.drop()
	p, err := startHelper(h.Helper, id)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (the program mailstead must be executable for everybody)", err)
	}
	if err != nil {
		return fmt.Errorf("start helper as uid %d: %w", id.uid, err)
	}
	h.helper = p
	return nil
}

// lose notes that changes for a user may not survive a power cut.
func (h *Host) lose(id identity, err error) {
	if h.unsynced == nil {
		h.unsynced = make(map[identity]error)
	}
	h.unsynced[id] = err
}

// sync has everything that was changed for a user survive a power cut.
func (h *Host) sync(ctx context.Context, id identity) error {
	a, err := h.mail(ctx, id, mailRequest{Sync: true})
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return err
}

// drop ends the helper, if there is one, and gives what it had to say.
func (h *Host) drop() string {
	p := h.helper
	h.helper = nil
	if p == nil {
		return ""
	}
	return p.end()
}

// HelperMain is the program of the helper (the hidden command "as-user"): it
// answers requests, one JSON value each, until its input ends. It refuses to
// run as root.
func HelperMain(stdin io.Reader, stdout io.Writer) error {
	if os.Getuid() == 0 || os.Geteuid() == 0 {
		return errors.New("as-user: this is for the owner of mail, not for root")
	}
	// What it reads about the user's files is no secret to the user, but
	// nobody shall be able to make it say something else by a debugger.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("as-user: %w", err)
	}
	in, out := json.NewDecoder(stdin), json.NewEncoder(stdout)
	w := mailWorker{forRoot: true}
	for {
		var q mailRequest
		err := in.Decode(&q)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("as-user: read request: %w", err)
		}
		if err := out.Encode(w.answer(q)); err != nil {
			return fmt.Errorf("as-user: write answer: %w", err)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/target"
	"mailstead/render"
	"mailstead/schema"
)

// The verbs of what the far end is asked.
const (
	verbPlan   = "plan"
	verbApply  = "apply"
	verbStatus = "status"
)

// remoteRequest says what a host is to be. A password hash hides itself from
// JSON, so those stand apart.
type remoteRequest struct {
	Host     *schema.Host      `json:"host"`
	Hashes   map[string]string `json:"hashes,omitempty"` // by name of the virtual user
	Rootless bool              `json:"rootless,omitempty"`
	Key      []byte            `json:"key"`                 // of the run, for steps
	Agreed   []string          `json:"agreed,omitempty"`    // apply: step.Exact of each change that may be made
	Wait     time.Duration     `json:"lock_wait,omitempty"` // apply: for another mailstead there, in nanoseconds

	RemoveUsers int           `json:"remove_users,omitempty"` // apply: how many users are known to vanish
	ReturnAfter time.Duration `json:"return_after,omitempty"` // apply: in nanoseconds; 0: as usual

	PurgeInboxes int `json:"purge_inboxes,omitempty"` // apply: from how many inboxes mail is known to be removed
}

// remoteAnswer is how a request ended; Fault is nil where it ended well.
type remoteAnswer struct {
	Plan   *reconcile.Saved `json:"plan,omitempty"`
	Steps  []step           `json:"steps,omitempty"` // of the plan's changes
	Status *hostStatus      `json:"status,omitempty"`
	Fault  *remoteFault     `json:"fault,omitempty"`
}

// remoteFault is an error with what report makes of it.
type remoteFault struct {
	Code    int                `json:"code"`
	Message string             `json:"message"`
	Hints   []string           `json:"hints,omitempty"`
	Faults  schema.Diagnostics `json:"faults,omitempty"` // of the description, which this host can never fulfil
}

func newRemoteCommand() *cobra.Command {
	var planOnly bool
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "be the far end of another mailstead",
		Long: `Started by "mailstead plan --via ssh" and "mailstead apply --via ssh" on the
host that they are about; of no use by hand. Reads requests, each a line of
JSON, and answers them; the description comes with the request.

In authorized_keys, command="mailstead remote --plan-only",restrict before a key
makes it one that can plan, and look at whatever the account can, but change
nothing.` + exitStatus(exitDone, exitFailed),
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The connection may break at any time, which ends nothing here.
			signal.Ignore(unix.SIGPIPE, unix.SIGHUP)
			r := &remote{planOnly: planOnly, out: cmd.OutOrStdout()}
			return r.serve(cmd.Context(), cmd.InOrStdin())
		},
	}
	cmd.Flags().BoolVar(&planOnly, "plan-only", false, "change nothing, whatever is asked")
	return cmd
}

// remote is the far end.
type remote struct {
	planOnly bool

	mu     sync.Mutex
	out    io.Writer
	cancel func() // ends the request at work; nil if there is none, or it does not end with the connection
	stop   func() // ends it in any case
}

// serve answers requests until there are no more. What is being applied when
// the connection breaks is applied to its end: half of it would be worse.
func (r *remote) serve(ctx context.Context, in io.Reader) error {
	hello := target.Hello{Protocol: target.Protocol, Version: ownVersion()}
	if err := target.Greet(r.out, hello); err != nil {
		return err
	}
	requests, failed := make(chan request), make(chan error, 1)
	go r.read(ctx, in, requests, failed)
	for q := range requests {
		if err := r.answer(q); err != nil {
			return err
		}
	}
	return <-failed
}

// request is a message with what ends the work on it.
type request struct {
	target.Message
	ctx  context.Context
	stop context.CancelFunc
}

// read passes requests on; what says stop, and the end of all, meets the last of
// them, be it begun or not.
func (r *remote) read(ctx context.Context, in io.Reader, requests chan<- request, failed chan<- error) {
	defer close(requests)
	reader := target.NewReader(in, target.MaxRequest)
	for {
		m, err := reader.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			failed <- err
			r.end(func() func() { return r.cancel })
			return
		}
		if m.Kind == target.Stop {
			r.end(func() func() { return r.stop })
			continue
		}
		q := request{Message: m}
		q.ctx, q.stop = context.WithCancel(ctx)
		r.mu.Lock()
		r.stop, r.cancel = q.stop, q.stop
		if m.Kind == verbApply {
			r.cancel = nil
		}
		r.mu.Unlock()
		requests <- q
	}
}

func (r *remote) end(which func() func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := which(); f != nil {
		f()
	}
}

// write sends a message. One that cannot be sent is nobody's any more.
func (r *remote) write(kind string, body any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return target.Write(r.out, kind, body)
}

// answer does what a request asks, and says how it ended.
func (r *remote) answer(q request) error {
	defer q.stop()
	a, err := r.do(q.ctx, q.Message)
	if err != nil {
		a.Fault = faultOf(err)
	}
	return r.write(target.Answer, a)
}

func (r *remote) do(ctx context.Context, m target.Message) (a remoteAnswer, err error) {
	q, err := readRequest(m.Body)
	if err != nil {
		return a, err
	}
	if r.planOnly && !isOurDir(q.Host.Paths.Bin) {
		return a, hint(fmt.Errorf("nothing was planned: paths.bin is %s, and a far end with --plan-only runs no program but of its own directory", q.Host.Paths.Bin),
			"put mailstead there, and its path into authorized_keys")
	}
	l, err := lookAt(ctx, q.Host, desired.Options{Rootless: q.Rootless}, false)
	if err != nil {
		return a, err
	}
	defer l.close()
	switch m.Kind {
	case verbPlan:
		if a.Plan, a.Steps, err = l.planSteps(ctx, q.Key); err == nil {
			l.noteInstalled(&a.Plan.Plan)
		}
		return a, err
	case verbStatus:
		plan, err := l.compare(ctx)
		if err != nil {
			return a, err
		}
		a.Status, err = l.status(ctx, plan)
		return a, err
	case verbApply:
		if r.planOnly {
			return a, errors.New("nothing was applied: the far end was started with --plan-only")
		}
		return a, r.apply(ctx, l, q)
	}
	return a, fmt.Errorf("no such request: %q", m.Kind)
}

// readRequest decodes a request. A field that this version does not know would
// be a wish that is not fulfilled.
func readRequest(body []byte) (q remoteRequest, err error) {
	if err = checkDensity(body); err == nil {
		err = checkKinds(body, q)
	}
	if err != nil {
		return q, fmt.Errorf("read request: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, fmt.Errorf("read request: %w", err)
	}
	err = checkShape(q.Host)
	if err == nil {
		err = desired.Check(q.Host, desired.Options{Rootless: q.Rootless})
	}
	if err != nil {
		return q, fmt.Errorf("read request: %w", err)
	}
	putHashes(q.Host, q.Hashes)
	return q, nil
}

// How long a host is where its lists are long: what is written of it has all fields, so
// that it is about as much as it becomes in memory.
const (
	octetsPerEntry = 64 // objects in lists: a folder has 77, a user 175
	octetsPerValue = 8
	fewEntries     = 10_000 // of which it does not matter what they become
)

// checkDensity refuses what would become far more in memory than it is here.
func checkDensity(body []byte) error {
	entries, values := 0, 0
	var last byte // that is no space
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case ',':
			values++
		case '{', 'n': // or null, which becomes as much
			if last == ',' || last == '[' {
				entries++
			}
		}
		last = c
	}
	if entries > fewEntries+len(body)/octetsPerEntry || values > fewEntries+len(body)/octetsPerValue {
		return fmt.Errorf("its lists have %d entries and %d values in %d octets, more than those of a host", entries, values, len(body))
	}
	return nil
}

// isOurDir tells whether a directory is the one that this program is in, if only by links.
func isOurDir(dir string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	for _, paths := range [][2]string{{filepath.Dir(self), dir}, {self, filepath.Join(dir, "mailstead")}} {
		ours, err := os.Stat(paths[0])
		if err != nil {
			return false
		}
		if st, err := os.Stat(paths[1]); err == nil && os.SameFile(ours, st) {
			return true
		}
	}
	return false
}

// checkShape finds what no description can be. What its values may be is for
// desired and render to check.
func checkShape(h *schema.Host) error {
	if h == nil || h.Name == "" {
		return errors.New("there is no host")
	}
	for _, u := range h.Users {
		if (u.System == nil) == (u.Virtual == nil) {
			return fmt.Errorf("user %q is neither a system user nor a virtual one", u.Name)
		}
	}
	for _, c := range h.TLS.Certificates {
		if n := btoi(c.Certbot != nil) + btoi(c.Files != nil) + btoi(c.SelfSigned != nil); n != 1 {
			return fmt.Errorf("certificate %q has %d sources", c.Name, n)
		}
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// noteInstalled says that the host has a description of its own, which it
// applies at boot.
func (l *look) noteInstalled(plan *reconcile.Plan) {
	if st, err := os.Stat(render.Description); err == nil && st.IsDir() && !l.opts.Rootless {
		plan.Notes = append(plan.Notes, render.Description+" is there and is applied at boot: see that it says the same, or move it away")
	}
}

// apply is the ordinary apply of this host. What it says before its plan was
// agreed to is the plan, which the other end has shown already.
func (r *remote) apply(ctx context.Context, l *look, q remoteRequest) error {
	s := &sayer{say: func(text string) { r.write(target.Said, text) }}
	o := applyOptions{opts: l.opts, wait: q.Wait, confirmed: confirmed{q.RemoveUsers, q.PurgeInboxes}, returnAfter: q.ReturnAfter, agree: func(_ context.Context, plan *reconcile.Plan) error {
		if err := agreed(plan, q); err != nil {
			return err
		}
		s.on = true
		return nil
	}}
	return l.applyHost(ctx, o, &console{in: bytes.NewReader(nil), out: s, err: s})
}

// agreed refuses a plan with a change that nobody has seen.
func agreed(plan *reconcile.Plan, q remoteRequest) error {
	seen := make(map[string]bool, len(q.Agreed))
	for _, exact := range q.Agreed {
		seen[exact] = true
	}
	for i, s := range stepsOf(plan, q.Key) {
		if !seen[s.Exact] {
			err := fmt.Errorf("not applied: %s: %w", plan.Changes[i].Ref, reconcile.ErrChanged)
			return &exitError{code: exitStale, err: hint(err, "plan again")}
		}
	}
	return nil
}

// sayer passes on what is written to it, once it is on.
type sayer struct {
	on  bool
	say func(string)
}

func (s *sayer) Write(p []byte) (int, error) {
	if s.on {
		s.say(string(p))
	}
	return len(p), nil
}

// faultOf takes an error apart for the other end.
func faultOf(err error) *remoteFault {
	f := &remoteFault{Code: exitCodeOf(err), Message: err.Error(), Hints: hints(err)}
	if errors.As(err, &f.Faults) {
		f.Code = exitInvalid
	}
	return f
}

// err is the inverse of faultOf.
func (f *remoteFault) err() error {
	if f == nil {
		return nil
	}
	if len(f.Faults) > 0 {
		return f.Faults
	}
	err := errors.New(f.Message)
	for _, h := range slices.Backward(f.Hints) {
		err = hint(err, "%s", h)
	}
	return &exitError{code: f.Code, err: err}
}

package imapserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// startHelper runs mailstead-pam with a stream socket as its stdin and stdout.
// gone is closed once it has exited and been reaped.
func startHelper(pam config.PAM, log *slog.Logger) (pipe *net.UnixConn, p *os.Process, gone chan struct{}, err error) {
	pipe, theirs, err := handoff.StreamPair()
	if err != nil {
		return nil, nil, nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(pam.Helper, "--service", pam.Service)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	if err := cmd.Start(); err != nil {
		pipe.Close()
		return nil, nil, nil, fmt.Errorf("start %s: %w", pam.Helper, err)
	}
	gone = make(chan struct{})
	go func() {
		defer close(gone)
		if err := cmd.Wait(); err != nil {
			log.Warn("PAM helper has ended", "pid", cmd.Process.Pid, "err", err)
		}
	}()
	return pipe, cmd.Process, gone, nil
}

// pamServices is where libpam has the rules of its services.
const pamServices = "/etc/pam.d"

// checkService says at once what every helper would say at a login: without rules of
// its own for the service PAM would go by those of "other", and mailstead-pam refuses.
func checkService(pam *config.PAM, log *slog.Logger) {
	if pam == nil {
		return
	}
	path := filepath.Join(pamServices, pam.Service)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		log.Error("nobody can log in through PAM: its service has no rules", "missing", path, "mend", "mailstead apply")
	}
}

// localHelpers starts helpers as children of this process.
type localHelpers struct {
	pam func() *config.PAM // as configured now
	log *slog.Logger
}

// Start is auth.HelperSource's.
func (l *localHelpers) Start(context.Context) (*auth.Helper, error) {
	pam := l.pam()
	if pam == nil {
		return nil, errors.New("no PAM service is configured")
	}
	pipe, p, _, err := startHelper(*pam, l.log)
	if err != nil {
		return nil, err
	}
	return &auth.Helper{Pipe: pipe, Kill: func() { p.Kill() }}, nil
}

// helpers are the mailstead-pam that the supervisor has started for the front.
type helpers struct {
	log *slog.Logger

	mu   sync.Mutex
	pam  *config.PAM
	last int
	all  map[int]*os.Process
}

// maxHelpers bounds them whatever the front asks for.
const maxHelpers = 64

func newHelpers(pam *config.PAM, log *slog.Logger) *helpers {
	checkService(pam, log)
	return &helpers{log: log, pam: pam, all: map[int]*os.Process{}}
}

func (h *helpers) configure(pam *config.PAM) {
	checkService(pam, h.log)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pam = pam
}

// start answers NeedHelper. The caller closes the pipe of the answer.
func (h *helpers) start(serial uint64) *handoff.Helper {
	answer := &handoff.Helper{Serial: serial}
	pipe, err := h.add(answer)
	if err == nil {
		answer.Pipe, err = pipe.File()
		pipe.Close()
	}
	if err != nil {
		answer.Error = err.Error()
		h.kill(answer.ID)
	}
	return answer
}

func (h *helpers) add(answer *handoff.Helper) (*net.UnixConn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.pam == nil:
		return nil, errors.New("no PAM service is configured")
	case len(h.all) >= maxHelpers:
		return nil, fmt.Errorf("%d PAM helpers are running", len(h.all))
	}
	pipe, p, gone, err := startHelper(*h.pam, h.log)
	if err != nil {
		return nil, err
	}
	h.last++
	id := h.last
	h.all[id], answer.ID = p, id
	go func() {
		<-gone
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.all, id)
	}()
	return pipe, nil
}

// kill ends a helper; one that is gone already is not in the table any more.
func (h *helpers) kill(id int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.all[id]; p != nil {
		p.Kill()
	}
}

func (h *helpers) killAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.all {
		p.Kill()
	}
}

package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// SSH is a host that is reached by the system's own ssh: known hosts, agents,
// jump hosts and ~/.ssh/config are as whoever runs it is used to.
type SSH struct {
	Address string // a name that ssh knows, or an IP address
	User    string // "": as ssh has it
	Port    int    // 0: as ssh has it
	Sudo    bool   // become root there by sudo, which must not ask
	Program string // path of mailstead there
}

// What ssh is told may reach a shell through ~/.ssh/config (ProxyCommand and
// Match exec replace %h and %r), and what begins with "-" is an option.
var (
	sshAddress = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?$|^[0-9A-Fa-f:]{2,39}(%[A-Za-z0-9._-]{1,15})?$`)
	sshUser    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
	sshProgram = regexp.MustCompile(`^(/[A-Za-z0-9_.@+,-]+)+$`)
)

// openTimeout bounds a login.
const openTimeout = time.Minute

// Check refuses what must not get to ssh's command line.
func (s SSH) Check() error {
	switch {
	case !sshAddress.MatchString(s.Address):
		return fmt.Errorf("connect to %q: not the name or the address of a host", s.Address)
	case s.User != "" && !sshUser.MatchString(s.User):
		return fmt.Errorf("connect to %s as %q: not the name of a user", s.Address, s.User)
	case s.Port < 0 || s.Port > 65535:
		return fmt.Errorf("connect to %s: %d is no port", s.Address, s.Port)
	case !sshProgram.MatchString(s.Program):
		return fmt.Errorf("connect to %s: %q is no path that a shell leaves alone", s.Address, s.Program)
	}
	return nil
}

// args are ssh's arguments. Nothing on the command line is a secret, there or here.
func (s SSH) args() []string {
	args := []string{"-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none",
		"-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15"}
	if s.User != "" {
		args = append(args, "-l", s.User)
	}
	if s.Port != 0 {
		args = append(args, "-p", strconv.Itoa(s.Port))
	}
	command := s.Program + " remote"
	if s.Sudo {
		command = "sudo -n -- " + command
	}
	return append(args, "--", s.Address, command)
}

// Remote is a mailstead at the far end of a connection. It is for one goroutine.
type Remote struct {
	Hello Hello

	ssh    SSH
	cmd    *exec.Cmd
	in     io.WriteCloser
	mu     sync.Mutex // guards writes to in: a Stop may come at any time
	out    *Reader
	stderr tail
}

// Open connects to the far end and hears its first message. The error says what
// ssh said, or that there is no mailstead. Close it at the end.
func (s SSH) Open(ctx context.Context) (*Remote, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	// Not with ctx: what has begun at the far end is ended by a message. And in
	// a process group of its own, so that an interrupt from the terminal reaches
	// this program alone, which then sends that message.
	r := &Remote{ssh: s, cmd: exec.Command("ssh", s.args()...)}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Stderr = &r.stderr
	r.cmd.WaitDelay = time.Second
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		r.in, err = r.cmd.StdinPipe()
	}
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	r.out = NewReader(out, MaxAnswer)
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.cmd.Process.Kill() })
	r.Hello, err = r.out.hello()
	if !stop() {
		err = ctx.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", openTimeout)
		}
	}
	if err != nil {
		return nil, r.failed(err)
	}
	return r, nil
}

// MissingError says that there is no mailstead at the far end.
type MissingError struct{ Address, Program, Said string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no %s on %s: %s", e.Program, e.Address, e.Said)
}

// failed ends a connection that does not work, and says why it does not.
func (r *Remote) failed(err error) error {
	r.in.Close()
	killed := time.AfterFunc(5*time.Second, func() { r.cmd.Process.Kill() })
	r.cmd.Wait()
	killed.Stop()
	said, code := r.stderr.String(), r.cmd.ProcessState.ExitCode()
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case code == 126 || code == 127: // of the shell there: cannot be run, is not found
		return &MissingError{r.ssh.Address, r.ssh.Program, said}
	case said != "":
		return fmt.Errorf("connect to %s: %s", r.ssh.Address, said)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("connect to %s: the connection ended (ssh: exit %d)", r.ssh.Address, code)
	}
	return fmt.Errorf("connect to %s: %w", r.ssh.Address, err)
}

// Call sends a request and waits for its answer, which is decoded into answer.
// said is given what the far end says on the way. If ctx ends, the far end is
// told to stop, and its answer is waited for all the same.
func (r *Remote) Call(ctx context.Context, verb string, body, answer any, said func(string)) error {
	if err := r.send(verb, body); err != nil {
		return r.failed(err)
	}
	defer context.AfterFunc(ctx, func() { r.send(Stop, nil) })()
	for {
		m, err := r.out.Next()
		if err != nil {
			return r.failed(err)
		}
		switch m.Kind {
		case Said:
			var text string
			if json.Unmarshal(m.Body, &text) == nil && said != nil {
				said(text)
			}
		case Answer:
			if err := json.Unmarshal(m.Body, answer); err != nil {
				return r.failed(fmt.Errorf("read answer: %w", err))
			}
			return nil
		default:
			return r.failed(fmt.Errorf("read answer: a message %q", m.Kind))
		}
	}
}

func (r *Remote) send(kind string, body any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Write(r.in, kind, body)
}

// Close ends the connection.
func (r *Remote) Close() {
	r.in.Close()
	killed := time.AfterFunc(5*time.Second, func() { r.cmd.Process.Kill() })
	defer killed.Stop()
	r.cmd.Wait()
}

// maxTail is how much of what ssh says is kept.
const maxTail = 4 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String gives the text, its lines one behind the other.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(t.text) {
		if text := strings.TrimSpace(string(bytes.ToValidUTF8(line, []byte("?")))); text != "" {
			lines = append(lines, text)
		}
	}
	return strings.Join(lines, "; ")
}

package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Serve takes one message from conn and runs command for it, the local
// sendmail, as the user who has connected. It answers on conn; the error is for
// the log.
func Serve(ctx context.Context, conn *net.UnixConn, command string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn.SetDeadline(time.Now().Add(timeout))
	who, err := peer(conn)
	if err == nil {
		err = serve(ctx, conn, command, who)
	}
	answer := answerOK
	if err != nil {
		answer = answerNo + oneLine(err.Error())
	}
	if _, e := io.WriteString(conn, answer+"\n"); e != nil && err == nil {
		err = fmt.Errorf("sent, and nobody to tell: %w", e)
	}
	return err
}

func serve(ctx context.Context, conn io.Reader, command string, who *syscall.Credential) error {
	spool, err := newSpool()
	if err != nil {
		return fmt.Errorf("spool the message: %w", err)
	}
	defer spool.Close()
	h, err := readMessage(conn, spool)
	if err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("spool the message: %w", err)
	}
	return sendmail(ctx, command, h.Sender, spool, who)
}

// newSpool makes a file without a name, which nobody else can open.
func newSpool() (*os.File, error) {
	fd, err := unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "message"), nil
}

// sendmail runs the command that every mail server has under this name, with the
// options that all of them take: a dot alone is no end (-oi), who gets the
// message stands in its header (-t).
func sendmail(ctx context.Context, command, sender string, message *os.File, who *syscall.Credential) error {
	args := []string{"-oi", "-t"}
	if sender != "" {
		args = append(args, "-f", sender)
	}
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Stdin = message
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	// What sendmail leaves behind to deliver must not keep us waiting.
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: who}
	}
	// It has ended well, too, where only its output has not.
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if text := oneLine(said.String()); text != "" {
			return fmt.Errorf("sendmail: %w: %s", err, text)
		}
		return fmt.Errorf("sendmail: %w", err)
	}
	return nil
}

// peer is who has connected, as the kernel says, with the groups that they have
// on this host.
func peer(conn *net.UnixConn) (*syscall.Credential, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("ask who has connected: %w", err)
	}
	who := &syscall.Credential{Uid: cred.Uid, Gid: cred.Gid}
	if u, err := user.LookupId(strconv.Itoa(int(cred.Uid))); err == nil {
		ids, err := u.GroupIds()
		if err != nil {
			return nil, fmt.Errorf("groups of %s: %w", u.Username, err)
		}
		for _, id := range ids {
			gid, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("groups of %s: %w", u.Username, err)
			}
			who.Groups = append(who.Groups, uint32(gid))
		}
	}
	return who, nil
}

// oneLine makes a text of somebody else's fit for one line of an answer.
func oneLine(s string) string {
	const most = 300
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// Package outbox hands what a user puts into the folder Outbox to the local
// mail server's sendmail. That program needs privileges (Postfix's a group,
// Exim's root) which nothing that the daemon starts can have. So systemd starts
// a program for each message, outside the daemon's sandbox, and the two speak
// over a socket: Send is the daemon's side, Serve the other one.
//
// Whoever connects gets sendmail as themselves, by the uid that the kernel
// names, which is what every local user has anyway. It imports nothing of the
// project.
package outbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// timeout is how long one message may take in all: sendmail may wait for a lock
// or for disk space, and a client waits for its answer.
const timeout = 2 * time.Minute

// The limits of what is said on the socket.
const (
	maxMessage = 128 << 20 // octets: whoever connects has root write it to a file
	maxHead    = 1 << 10   // octets of the first line
	maxAnswer  = 1 << 10
)

// head is the first line: what follows it.
type head struct {
	Sender string `json:"sender,omitempty"` // envelope sender; "": sendmail's choice
	Octets int64  `json:"octets"`           // of the message, with LF line ends
}

// Refused is what sendmail, or the program around it, says against a message.
// Nothing was sent.
type Refused string

// Error gives the reason.
func (r Refused) Error() string { return string(r) }

// Send hands over a message with LF line ends, to those whom its To, Cc and Bcc
// fields name, and returns once sendmail has taken it. The error is a Refused
// where nothing was sent for sure.
func Send(ctx context.Context, socket, sender string, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return Refused("nobody sends mail here: " + err.Error())
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	first, err := json.Marshal(head{Sender: sender, Octets: int64(len(message))})
	if err != nil {
		return err
	}
	buffers := net.Buffers{first, {'\n'}, message}
	if _, err := buffers.WriteTo(conn); err != nil {
		return Refused("send: " + err.Error()) // nothing is sent before all of it is there
	}
	return readAnswer(conn)
}

// The answers: one line.
const (
	answerOK = "OK"
	answerNo = "NO "
)

func readAnswer(conn io.Reader) error {
	line, err := bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), maxAnswer).ReadString('\n')
	line = strings.TrimSuffix(line, "\n")
	switch {
	case line == answerOK && err == nil:
		return nil
	case strings.HasPrefix(line, answerNo):
		return Refused(line[len(answerNo):])
	case err == nil:
		return fmt.Errorf("send: the answer %q does not say whether the message was sent", line)
	}
	return fmt.Errorf("send: no answer whether the message was sent: %w", err)
}

// readMessage reads the first line and puts the whole message into to. One that
// breaks off is never sent.
func readMessage(conn io.Reader, to io.Writer) (head, error) {
	r := bufio.NewReaderSize(conn, 64<<10)
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) > maxHead {
		return head{}, errors.New("the first line makes no sense")
	}
	var h head
	if err := json.Unmarshal(bytes.TrimSpace(line), &h); err != nil {
		return head{}, errors.New("the first line makes no sense")
	}
	if h.Octets < 1 || h.Octets > maxMessage {
		return head{}, fmt.Errorf("a message of %d octets", h.Octets)
	}
	if n, err := io.CopyN(to, r, h.Octets); err != nil {
		return head{}, fmt.Errorf("the message ends after %d of %d octets: %w", n, h.Octets, err)
	}
	return h, checkSender(h.Sender)
}

// checkSender refuses what sendmail could take for an option, or for more than
// one address.
func checkSender(sender string) error {
	if len(sender) > 320 || strings.HasPrefix(sender, "-") ||
		strings.ContainsFunc(sender, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`<>()[],;:\"|`, r) }) {
		return fmt.Errorf("%q is not an address that mail can be sent from", sender)
	}
	return nil
}

package handoff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the version of the messages. Roles of different versions do not
// talk: a process that outlives an upgrade of its supervisor is refused.
const Version = 5

// The bounds of a message.
const (
	MaxPacket  = 16 << 10  // octets of a packet without its descriptors
	MaxFiles   = 64        // descriptors, the payload's not counted
	MaxPayload = 256 << 20 // octets of the payload: some hundred thousand users

	sendTimeout = 10 * time.Second // a peer that does not read for so long is not coming back
)

// withPayload ends the first line of a packet whose last descriptor is the payload.
const withPayload = " payload"

// ErrVersion says that the peer speaks another Version.
var ErrVersion = errors.New("the peer is of another version")

// Conn is one end of a channel. Send may be called from many goroutines, and
// Receive from one other at the same time.
type Conn struct {
	c    *net.UnixConn
	most int64      // octets of a payload that is received
	mu   sync.Mutex // held while a packet is sent
	buf  []byte     // of Receive, which keeps nothing of it
}

// Pair makes a channel: our end, and the descriptor of the other for a child. A child
// has less of a say than who has started it: its payloads are not taken.
func Pair() (*Conn, *os.File, error) {
	ours, theirs, err := socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	c, err := NewConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c.Bound(0), theirs, nil
}

// StreamPair makes a pair of connected stream sockets, which is a connection
// without TLS or the pipe to a helper: our end, and the descriptor of the other.
func StreamPair() (*net.UnixConn, *os.File, error) {
	ours, theirs, err := socketpair(unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, err
	}
	c, err := Stream(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// Stream makes a connection of the end of a StreamPair that was received, and
// closes f.
func Stream(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unix" {
		c.Close()
		return nil, errors.New("open stream: the descriptor is no stream socket")
	}
	return u, nil
}

// Network makes a connection of the descriptor of Connected, and closes f.
func Network(f *os.File) (net.Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open connection: %w", err)
	}
	if _, ok := c.(*net.TCPConn); !ok {
		c.Close()
		return nil, errors.New("open connection: the descriptor is no TCP socket")
	}
	return c, nil
}

func socketpair(typ int) (ours, theirs *os.File, err error) {
	// Not SOCK_NONBLOCK, with which each file would be the poller's as well for the short
	// time until it is a connection or sent.
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "handoff"), os.NewFile(uintptr(fds[1]), "handoff"), nil
}

// NewConn makes a Conn of an inherited descriptor, which it closes.
func NewConn(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unixpacket" {
		c.Close()
		return nil, errors.New("open channel: the descriptor is no packet socket")
	}
	return &Conn{c: u, most: MaxPayload}, nil
}

// Over makes a Conn of a connection to a packet socket, which is the Conn's from
// then on.
func Over(c net.Conn) (*Conn, error) {
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unixpacket" {
		c.Close()
		return nil, errors.New("open channel: it is no packet socket")
	}
	return &Conn{c: u, most: MaxPayload}, nil
}

// Bound has payloads of so many octets taken, and no longer ones: memory is that of
// who receives them, and one memory file can be sent any number of times. It gives c.
func (c *Conn) Bound(most int64) *Conn {
	c.most = most
	return c
}

// Dial opens a channel to the role that listens at path.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	return Over(c)
}

// Peer is the uid of who has opened the channel, and the process, as the kernel says.
// That is 0 where the process is in another namespace.
func (c *Conn) Peer() (uid, pid int, err error) {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return -1, 0, err
	}
	var cred *unix.Ucred
	var fault error
	if err := raw.Control(func(fd uintptr) { cred, fault = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return -1, 0, err
	}
	if fault != nil {
		return -1, 0, fmt.Errorf("ask who has opened the channel: %w", fault)
	}
	return int(cred.Uid), int(cred.Pid), nil
}

// Close ends the channel; a Receive that waits returns.
func (c *Conn) Close() error { return c.c.Close() }

// Send sends a message. Its descriptors stay open and the caller's.
func (c *Conn) Send(m Message) error {
	name, err := kindOf(m)
	if err != nil {
		return err
	}
	body, err := encode(m)
	if err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	files, payload := m.files(), ""
	if len(files) > MaxFiles {
		return fmt.Errorf("send %s: %d descriptors, more than %d", name, len(files), MaxFiles)
	}
	if data := m.payload(); data != nil && len(*data) > 0 {
		memory, err := Seal(*data)
		if err != nil {
			return fmt.Errorf("send %s: %w", name, err)
		}
		defer memory.Close()
		payload = withPayload
		files = append(files[:len(files):len(files)], memory)
	}
	if err := c.write(fmt.Appendf(nil, "%d %s%s\n%s", Version, name, payload, body), files); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}

// encode is json.Marshal that leaves <, > and & as they are: written for HTML they are six
// octets, and what has been checked to fit into a packet would not.
func encode(m Message) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(m)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (c *Conn) write(data []byte, files []*os.File) (err error) {
	if len(data) > MaxPacket {
		return fmt.Errorf("%d octets, more than %d", len(data), MaxPacket)
	}
	fds := make([]int, len(files))
	for i, f := range files {
		if fds[i], err = fd(f); err != nil {
			return err
		}
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, _, err = c.c.WriteMsgUnix(data, oob, nil)
	runtime.KeepAlive(files)
	return err
}

// fd gives the number of f's descriptor without making it blocking, which
// File.Fd would.
func fd(f *os.File) (int, error) {
	if f == nil {
		return -1, os.ErrInvalid
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	if err := raw.Control(func(fd uintptr) { n = int(fd) }); err != nil {
		return -1, err
	}
	return n, nil
}

// Receive waits for the next message. io.EOF says that the peer has closed its
// end, most often because it is no more. After any error the channel is of no
// use and the caller closes it. The descriptors are the caller's.
func (c *Conn) Receive() (Message, error) {
	data, files, err := c.read()
	if err != nil {
		return nil, err
	}
	m, err := decode(data, files, c.most)
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, fmt.Errorf("receive: %w", err)
	}
	return m, nil
}

// read gives a packet, until the next call.
func (c *Conn) read() ([]byte, []*os.File, error) {
	if c.buf == nil {
		c.buf = make([]byte, MaxPacket+1)
	}
	buf := c.buf
	oob := make([]byte, unix.CmsgSpace((MaxFiles+1)*4))
	n, oobn, flags, _, err := c.c.ReadMsgUnix(buf, oob)
	files, ferr := takeFiles(oob[:oobn])
	switch {
	case err == nil && n == 0, errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		err = io.EOF
	case err != nil:
		err = fmt.Errorf("receive: %w", err)
	case ferr != nil:
		err = fmt.Errorf("receive: %w", ferr)
	case n > MaxPacket || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = fmt.Errorf("receive: more than %d octets or %d descriptors", MaxPacket, MaxFiles+1)
	default:
		return buf[:n], files, nil
	}
	for _, f := range files {
		f.Close()
	}
	return nil, nil, err
}

// takeFiles makes files of what has been received beside a packet; Go has set
// close-on-exec on them.
func takeFiles(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind: nothing that has to be closed
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handoff"))
		}
	}
	return files, nil
}

// decode reads a packet: a line with its version and kind, and the JSON of the
// message.
func decode(data []byte, files []*os.File, most int64) (Message, error) {
	line, body, _ := bytes.Cut(data, []byte("\n"))
	version, name, _ := strings.Cut(string(line), " ")
	if version != strconv.Itoa(Version) {
		return nil, fmt.Errorf("%w: %.20q, not %d", ErrVersion, version, Version)
	}
	name, payload := strings.CutSuffix(name, withPayload)
	m := newMessage(name)
	if m == nil {
		return nil, fmt.Errorf("message of unknown kind %q", name)
	}
	if err := strict(body, m); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	slot := m.payload()
	if payload && (slot == nil || len(files) == 0) {
		return nil, fmt.Errorf("%s: a payload against its kind", name)
	}
	var memory *os.File
	if payload {
		memory, files = files[len(files)-1], files[:len(files)-1]
	}
	if err := m.setFiles(files); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if memory != nil {
		var err error
		if *slot, err = unseal(memory, most); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		memory.Close()
	}
	return m, nil
}

func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

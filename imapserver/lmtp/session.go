package lmtp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"mailstead/imapserver/deliver"
	"mailstead/imapserver/limit"
)

// Backend is what becomes of mail. Its methods are called from many goroutines.
type Backend interface {
	// Recipient finds the mailbox of an address. The error is for the client.
	Recipient(ctx context.Context, address string) (Recipient, error)
}

// Recipient is a mailbox that was found. It is closed once, whatever has become
// of the message.
type Recipient interface {
	// Deliver returns once the message is on disk, or is not there.
	Deliver(ctx context.Context, m Message) error
	Close()
}

// Message is a message that is whole, with CRLF line ends.
type Message struct {
	ID       string // as the log has it
	Sender   string // "" for a bounce
	Received string // what is to be traced of the way (RFC 5321 §4.4)
	Text     io.ReaderAt
	Octets   int64
}

// server is what the sessions have in common.
type server struct {
	host    string
	limits  limit.LMTP
	backend Backend
	log     *slog.Logger
}

// session is one connection.
type session struct {
	*server
	ctx context.Context
	r   *bufio.Reader
	w   *bufio.Writer

	peer   string // as LHLO has it; "" before
	bad    int
	number int // of transactions
	id     string

	from   string
	mail   bool // there was a MAIL
	rcpts  []Recipient
	names  []string // of rcpts, as the client has them
	ending bool
}

// serve serves a connection until it ends, or ctx does.
func (s *server) serve(ctx context.Context, conn net.Conn, id string) {
	patient := deadlined{conn, s.limits.Patience, ctx}
	c := &session{server: s, ctx: ctx, id: id, r: bufio.NewReaderSize(patient, 64<<10), w: bufio.NewWriter(patient)}
	defer conn.Close()
	defer c.reset()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	c.reply(220, "", s.host+" LMTP")
	for !c.ending {
		if !c.waiting() && c.w.Flush() != nil {
			return
		}
		line, err := readLine(c.r, c.limits.Line)
		switch {
		case errors.Is(err, errLongLine), errors.Is(err, errBareLF):
			c.reply(500, "5.5.2", err.Error())
			c.ending = true
		case err != nil && ctx.Err() != nil:
			c.reply(421, "4.3.2", "the service stops; come again")
			c.ending = true
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.reply(421, "4.4.2", "nothing was heard for too long")
			c.ending = true
		case err != nil:
			return
		default:
			c.command(line)
		}
	}
	c.w.Flush()
}

// waiting tells whether another command is there already, so that the answers to
// both can go at once (RFC 2920 §3.2).
func (c *session) waiting() bool {
	ahead, _ := c.r.Peek(c.r.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// deadlined is a connection that gives each read and write so much time. Once ctx
// is over there are no more reads.
type deadlined struct {
	net.Conn
	patience time.Duration
	ctx      context.Context
}

// Read reads.
func (d deadlined) Read(p []byte) (int, error) {
	d.SetReadDeadline(time.Now().Add(d.patience))
	if d.ctx.Err() != nil {
		return 0, os.ErrDeadlineExceeded
	}
	return d.Conn.Read(p)
}

// Write writes.
func (d deadlined) Write(p []byte) (int, error) {
	d.SetWriteDeadline(time.Now().Add(d.patience))
	return d.Conn.Write(p)
}

// reply answers. An enhanced code goes with each but those of the greeting and of
// LHLO (RFC 2034 §3).
func (c *session) reply(code int, enhanced, text string) {
	if enhanced != "" {
		enhanced += " "
	}
	fmt.Fprintf(c.w, "%d %s%s\r\n", code, enhanced, plain(text))
	if code >= 500 && code < 550 {
		if c.bad++; c.bad > c.limits.Bad {
			fmt.Fprintf(c.w, "421 4.7.0 too many commands that make no sense\r\n")
			c.ending = true
		}
	} else if code < 400 {
		c.bad = 0
	}
}

// plain makes a text one line of a reply.
func plain(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}

func (c *session) fault(err error) {
	f := deliver.AsFault(err)
	c.reply(f.Code, f.Enhanced, f.Text)
}

// command does what one line asks for.
func (c *session) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if c.peer == "" && (verb == "MAIL" || verb == "RCPT" || verb == "DATA") {
		c.reply(503, "5.5.1", "LHLO comes first")
		return
	}
	switch verb {
	case "LHLO":
		c.lhlo(arg)
	case "MAIL":
		c.mailFrom(arg)
	case "RCPT":
		c.rcptTo(arg)
	case "DATA":
		c.data(arg)
	case "RSET":
		c.reset()
		c.reply(250, "2.0.0", "forgotten")
	case "NOOP":
		c.reply(250, "2.0.0", "done")
	case "VRFY":
		c.reply(252, "2.5.2", "send some mail")
	case "QUIT":
		c.reply(221, "2.0.0", "bye")
		c.ending = true
	case "HELO", "EHLO": // RFC 2033 §4.1
		c.reply(500, "5.5.1", "this is LMTP: say LHLO")
	default:
		c.reply(500, "5.5.1", "there is no such command")
	}
}

func (c *session) lhlo(peer string) {
	if peer = strings.TrimSpace(peer); peer == "" || len(peer) > 255 || plain(peer) != peer {
		c.reply(501, "5.5.4", "LHLO wants the name of the client")
		return
	}
	c.reset()
	c.peer = peer
	for _, line := range []string{c.host, "PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8"} {
		fmt.Fprintf(c.w, "250-%s\r\n", line)
	}
	c.reply(250, "", "SIZE "+strconv.FormatInt(c.limits.Message, 10))
}

func (c *session) mailFrom(arg string) {
	from, params, ok := pathOf(arg, "FROM:")
	switch {
	case c.mail:
		c.reply(503, "5.5.1", "there is a sender already")
	case !ok:
		c.reply(501, "5.1.7", "MAIL FROM:<address> is wanted")
	default:
		if err := c.mailParams(params); err != nil {
			c.fault(err)
			return
		}
		c.mail, c.from = true, from
		c.number++
		c.reply(250, "2.1.0", "go on")
	}
}

// mailParams looks at what follows a sender; unknown ones are refused, as the
// client was told of none (RFC 5321 §4.1.1.11).
func (c *session) mailParams(params []string) error {
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		switch strings.ToUpper(key) {
		case "SIZE": // RFC 1870 §6.1
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return &deliver.Fault{Code: 501, Enhanced: "5.5.4", Text: "SIZE is a number"}
			}
			if int64(n) > c.limits.Message {
				return deliver.ErrTooLong
			}
		case "BODY": // RFC 6152 §2
			if v := strings.ToUpper(value); v != "7BIT" && v != "8BITMIME" {
				return &deliver.Fault{Code: 501, Enhanced: "5.5.4", Text: "BODY is 7BIT or 8BITMIME"}
			}
		case "SMTPUTF8": // RFC 6531 §3.4
		default:
			return &deliver.Fault{Code: 555, Enhanced: "5.5.4", Text: "there is no such parameter"}
		}
	}
	return nil
}

func (c *session) rcptTo(arg string) {
	to, params, ok := pathOf(arg, "TO:")
	switch {
	case !c.mail:
		c.reply(503, "5.5.1", "MAIL comes first")
	case !ok || to == "":
		c.reply(501, "5.1.3", "RCPT TO:<address> is wanted")
	case len(params) > 0:
		c.reply(555, "5.5.4", "there is no such parameter")
	case len(c.rcpts) >= c.limits.Recipients:
		c.reply(452, "4.5.3", "so many at once are too many") // RFC 5321 §4.5.3.1.10
	default:
		ctx, cancel := context.WithTimeout(c.ctx, c.limits.Delivery)
		defer cancel()
		r, err := c.backend.Recipient(ctx, to)
		if err != nil {
			c.log.Info("recipient refused", "id", c.transaction(), "to", to, "err", err)
			c.fault(err)
			return
		}
		c.rcpts, c.names = append(c.rcpts, r), append(c.names, to)
		c.reply(250, "2.1.5", "go on")
	}
}

// pathOf reads what follows MAIL or RCPT.
func pathOf(arg, word string) (address string, params []string, ok bool) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return "", nil, false
	}
	return parsePath(arg[len(word):])
}

// transaction names the message that is on its way.
func (c *session) transaction() string { return fmt.Sprintf("%s.%d", c.id, c.number) }

func (c *session) reset() {
	for _, r := range c.rcpts {
		r.Close()
	}
	c.mail, c.from, c.rcpts, c.names = false, "", nil, nil
}

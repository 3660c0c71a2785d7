package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
)

// userSession is a session of a user with the daemon, for what go-imap's client
// has no words for. The worker at its other end runs as the user: what it says is
// bounded, and means nothing beyond the user's own mail.
type userSession struct {
	c      net.Conn
	r      *bufio.Reader
	prefix string // of the personal namespace
	tag    int
}

// maxLine bounds a line of the daemon's: a set of a million UIDs.
const maxLine = 16 << 20

// beginSession begins one without IMAP4rev2, in which names are spelt in one way.
func beginSession(ctx context.Context, socket, user, prefix string) (*userSession, error) {
	f, err := control.SessionFile(ctx, socket, user, "IMAP4REV2")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	s := &userSession{c: c, r: bufio.NewReader(c), prefix: prefix}
	context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	line, err := s.line()
	if err == nil && !strings.HasPrefix(line, "* OK") {
		err = fmt.Errorf("the daemon says %q", line)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("session of %q: %w", user, err)
	}
	return s, nil
}

func (s *userSession) close() {
	s.command("LOGOUT")
	s.c.Close()
}

func (s *userSession) line() (string, error) {
	var b strings.Builder
	for {
		piece, more, err := s.r.ReadLine()
		if err != nil {
			return "", err
		}
		if b.Write(piece); b.Len() > maxLine {
			return "", fmt.Errorf("the daemon sends a line of more than %d octets", maxLine)
		}
		if !more {
			return b.String(), nil
		}
	}
}

// command gives the untagged responses of a command. A NO or BAD is an *imap.Error.
func (s *userSession) command(format string, args ...any) (untagged []string, err error) {
	s.tag++
	tag := "m" + strconv.Itoa(s.tag) + " "
	if _, err := fmt.Fprintf(s.c, tag+format+"\r\n", args...); err != nil {
		return nil, err
	}
	for {
		line, err := s.line()
		if err != nil {
			return nil, err
		}
		rest, tagged := strings.CutPrefix(line, tag)
		if !tagged {
			untagged = append(untagged, line)
			continue
		}
		status, text, _ := strings.Cut(rest, " ")
		if status == "OK" {
			return untagged, nil
		}
		e := &imap.Error{Type: imap.StatusResponseType(status), Text: text}
		if code, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "] "); ok && strings.HasPrefix(text, "[") {
			e.Code, e.Text = imap.ResponseCode(code), rest
		}
		return untagged, e
	}
}

// mailbox spells a folder's name as a command has it (RFC 3501 §5.1.3).
func (s *userSession) mailbox(folder string) (string, error) {
	name := folder
	if folder != "INBOX" {
		dir, err := maildir.EncodeName(folder, maildir.ModifiedUTF7)
		if err != nil {
			return "", err
		}
		name = s.prefix + strings.TrimPrefix(dir, ".")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`, nil
}

package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	accounts "os/user"
	"strings"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// maxAnswer bounds what a daemon at a socket may answer to one login.
const maxAnswer = 64 << 10

// exchange sends a question to whoever listens at a socket and gives all that is
// answered until the other side closes: one connection for each login.
func exchange(ctx context.Context, socket string, question []byte, answer func(io.Reader) ([]byte, error)) ([]byte, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	return answer(io.LimitReader(c, maxAnswer))
}

// authdaemon asks Courier's authdaemond. Its answers hold hashes and passwords: no
// error and no log may repeat them.
type authdaemon struct {
	config  config.Directory
	timeout time.Duration
	queue   *queue
}

func newAuthdaemon(c config.Directory, l Limits) *authdaemon {
	return &authdaemon{c, time.Duration(c.Authdaemon.Timeout) * time.Second, newQueue(c.Authdaemon.Connections, l.Queue)}
}

func (d *authdaemon) line() *queue { return d.queue }
func (d *authdaemon) close()       {}

func (d *authdaemon) check(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	// Its protocol has lines: a line feed would end the password.
	if c.Password == "" || strings.ContainsAny(c.Password, "\r\n") {
		return config.User{}, unlisted.because("not a password for authdaemond")
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := exchange(ctx, d.config.Authdaemon.Socket, authRequest(d.config.Authdaemon.Service, c), io.ReadAll)
	if err != nil {
		return config.User{}, d.fault(err)
	}
	if string(answer) == "FAIL\n" {
		return config.User{}, unlisted.because("refused by authdaemond")
	}
	a, err := parseAuthAnswer(answer)
	if err != nil {
		return config.User{}, d.fault(err)
	}
	return d.user(a, c)
}

// user is the account of an answer, if it may have its mail by IMAP.
func (d *authdaemon) user(a authAnswer, c *handoff.Credentials) (config.User, finding) {
	if f := a.allows(c); f != good {
		return config.User{}, f
	}
	s, err := a.said(c.User)
	if err != nil {
		return config.User{}, d.fault(err)
	}
	u, err := row(d.config, s)
	if err != nil {
		return config.User{}, unavailable(err)
	}
	return u, good
}

// find asks for an account without its password.
func (d *authdaemon) find(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	question := fmt.Appendf(nil, "PRE . %s %s\n", d.config.Authdaemon.Service, c.User)
	answer, err := exchange(ctx, d.config.Authdaemon.Socket, question, io.ReadAll)
	if err != nil {
		return config.User{}, d.fault(err)
	}
	if string(answer) == "FAIL\n" {
		return config.User{}, unknown
	}
	a, err := parseAuthAnswer(answer)
	if err != nil {
		return config.User{}, d.fault(err)
	}
	return d.user(a, c)
}

func (d *authdaemon) fault(err error) finding {
	return unavailable(fmt.Errorf("directory %s: authdaemond: %w", d.config.Name, err))
}

// authRequest is AUTH with its length, then service, kind, user and password.
func authRequest(service string, c *handoff.Credentials) []byte {
	body := fmt.Sprintf("%s\nlogin\n%s\n%s\n", service, c.User, c.Password)
	return fmt.Appendf(nil, "AUTH %d\n%s", len(body), body)
}

// authAnswer is the attributes of an account, by their names.
type authAnswer map[string]string

// parseAuthAnswer reads lines KEY=value up to a line with a dot. Nothing at all is
// how the daemon says that it cannot tell now.
func parseAuthAnswer(data []byte) (authAnswer, error) {
	if len(data) == 0 {
		return nil, errors.New("it has a temporary fault (its own log says which)")
	}
	a := authAnswer{}
	for line := range bytes.Lines(data) {
		text := strings.TrimSuffix(string(line), "\n")
		if text == "." {
			return a, nil
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		switch key {
		case "PASSWD", "PASSWD2": // need not lie about
		case "OPTIONS":
			for option := range strings.SplitSeq(value, ",") {
				name, v, _ := strings.Cut(option, "=")
				a["OPTION "+name] = v
			}
		default:
			a[key] = value
		}
	}
	return nil, errors.New("its answer breaks off, or is in no form that is known")
}

// allows holds the account to its options, as Courier does.
func (a authAnswer) allows(c *handoff.Credentials) finding {
	denied := finding{code: "AUTHORIZATIONFAILED", text: "Your account may not be used here now."}
	switch {
	case isSet(a["OPTION disableimap"]):
		return denied.because("authdaemond: the account has disableimap")
	case isSet(a["OPTION disableinsecureimap"]) && !c.TLS:
		return denied.because("authdaemond: the account has disableinsecureimap")
	}
	return good
}

func isSet(option string) bool { return option != "" && option != "0" }

// said gives what the answer says of a user. ADDRESS is the name that Courier
// knows the account by; an account of the host has a USERNAME in place of a uid.
func (a authAnswer) said(name string) (said, error) {
	s := said{name: name, uid: a["UID"], gid: a["GID"], home: a["HOME"], maildir: a["MAILDIR"], quota: a["QUOTA"], elsewhere: a["OPTION mailhost"]}
	if address := a["ADDRESS"]; address != "" {
		s.name = address
	}
	if s.uid != "" || a["USERNAME"] == "" {
		return s, nil
	}
	account, err := accounts.Lookup(a["USERNAME"])
	if err != nil {
		return s, err
	}
	if s.uid = account.Uid; s.gid == "" {
		s.gid = account.Gid
	}
	return s, nil
}

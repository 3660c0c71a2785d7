package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	accounts "os/user"
	"strings"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// maxSASLString is what saslauthd takes: it refuses whatever is longer.
const maxSASLString = 256

// saslauthd asks Cyrus SASL's saslauthd at its socket mux. It says yes or no and
// nothing else of a user, and no is also what it says when it cannot tell.
type saslauthd struct {
	config  config.Directory
	timeout time.Duration
	queue   *queue
}

func newSaslauthd(c config.Directory, l Limits) *saslauthd {
	return &saslauthd{c, time.Duration(c.Saslauthd.Timeout) * time.Second, newQueue(c.Saslauthd.Connections, l.Queue)}
}

func (d *saslauthd) line() *queue { return d.queue }
func (d *saslauthd) close()       {}

// check asks in small letters: saslauthd does not say how a name is written, and
// what it asks may take them for the same.
func (d *saslauthd) check(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	name := strings.ToLower(c.User)
	if c.Password == "" || len(c.Password) > maxSASLString {
		return config.User{}, unlisted.because("not a password for saslauthd")
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	s := d.config.Saslauthd
	answer, err := exchange(ctx, s.Socket, saslRequest(name, c.Password, s.Service, s.Realm), readCounted)
	switch {
	case err != nil:
		return config.User{}, unavailable(fmt.Errorf("directory %s: saslauthd: %w", d.config.Name, err))
	case strings.HasPrefix(string(answer), "NO"):
		return config.User{}, unlisted.because("refused by saslauthd")
	case !strings.HasPrefix(string(answer), "OK"):
		return config.User{}, unavailable(fmt.Errorf("directory %s: saslauthd gives an answer that is neither OK nor NO", d.config.Name))
	}
	u, err := d.row(name)
	if err != nil {
		return config.User{}, unavailable(err)
	}
	return u, good
}

// row is the user, who has an account of the host unless all mail has one owner.
func (d *saslauthd) row(name string) (config.User, error) {
	s := said{name: name}
	if d.config.May.Owner == nil {
		account, err := accounts.Lookup(name)
		if err != nil {
			return config.User{}, fmt.Errorf("directory %s: %w", d.config.Name, err)
		}
		s.uid, s.gid, s.home = account.Uid, account.Gid, account.HomeDir
	}
	return row(d.config, s)
}

// saslRequest is four strings, each after its length in two octets.
func saslRequest(fields ...string) []byte {
	var b []byte
	for _, f := range fields {
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	return b
}

func readCounted(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(r, answer); err != nil {
		return nil, errors.New("its answer breaks off")
	}
	return answer, nil
}

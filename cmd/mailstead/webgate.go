package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/auth"
	"mailstead/reconcile"
	"mailstead/reconcile/web"
	"mailstead/render"
	"mailstead/schema"
)

// The bounds of admins' logins. A guess costs the host a process and a hash.
const (
	webTokenLife  = 8 * time.Hour
	webGuesses    = 10              // wrong ones of an admin that are heard in a row
	webGuessEvery = 2 * time.Minute // and then one in so long
)

// The files of render.WebDir.
const (
	webKeyFile    = "key"         // of tokens
	webAdminsFile = "admins.json" // what is remembered of each admin
)

var (
	errWebRefused  = errors.New("the name, the password or the code is wrong, or there were too many wrong ones: after ten, one is heard in two minutes")
	errWebTooMany  = fmt.Errorf("too many wrong passwords and codes: try again in %s", webGuessEvery)
	errWebStranger = errors.New("no admin has this certificate")
	errWebOver     = errors.New("you have to log in again")
)

// errWebCode says that a change can be agreed to with another code.
var errWebCode = errors.New("the code is wrong, or was used before: wait for the next one")

// wrongLogin says whether it is what somebody has given that was refused, and no fault
// of the host, for which nobody is banned.
func wrongLogin(err error) bool {
	return errors.Is(err, errWebRefused) || errors.Is(err, errWebTooMany) || errors.Is(err, errWebStranger)
}

// webGate says who is an admin. Nobody is because the page says so: it takes a
// password with a code, a certificate, or a token that it has given for one of them.
type webGate struct {
	host *schema.Host
	dir  string
	key  []byte
}

// openWebGate reads the key of tokens, or makes one.
func openWebGate(host *schema.Host) (*webGate, error) {
	if host.Web == nil {
		return nil, errors.New("the host has no page any more")
	}
	g := &webGate{host: host, dir: render.WebDir(host.Paths)}
	path := filepath.Join(g.dir, webKeyFile)
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, 32)
		rand.Read(key)
		err = reconcile.ReplaceFile(path, reconcile.Private(key))
	}
	if err == nil && len(key) != 32 {
		err = hint(fmt.Errorf("%s is not a key", path), "remove it: a new one is made, and everybody logs in again")
	}
	g.key = key
	return g, err
}

func (g *webGate) find(name string) (schema.WebAdmin, bool) {
	i := slices.IndexFunc(g.host.Web.Admins, func(a schema.WebAdmin) bool { return a.Name == name })
	if i < 0 {
		return schema.WebAdmin{}, false
	}
	return g.host.Web.Admins[i], true
}

// webToken is what a token says. It is good for as long as the admin logs in by the
// same things, which its mark is a digest of.
type webToken struct {
	Name string    `json:"name"`
	Mark string    `json:"mark"`
	Till time.Time `json:"till"`
}

func webMark(a schema.WebAdmin) string {
	secret, _ := readTOTP(a.TOTPFile) // whoever cannot be asked for a code agrees to nothing
	by := append([]string{string(secret), string(a.Hash)}, a.Certificates...)
	sum := sha256.Sum256([]byte(strings.Join(by, "\x00")))
	return hex.EncodeToString(sum[:8])
}

func (g *webGate) sign(data []byte) []byte {
	mac := hmac.New(sha256.New, g.key)
	mac.Write(data)
	return mac.Sum(nil)
}

func (g *webGate) issue(a schema.WebAdmin, now time.Time) (string, error) {
	data, err := json.Marshal(webToken{a.Name, webMark(a), now.Add(webTokenLife)})
	return base64.RawURLEncoding.EncodeToString(append(g.sign(data), data...)), err
}

// token gives whose a token is.
func (g *webGate) token(text string, now time.Time) (string, error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) < sha256.Size || !hmac.Equal(data[:sha256.Size], g.sign(data[sha256.Size:])) {
		return "", errWebOver
	}
	var t webToken
	if err := json.Unmarshal(data[sha256.Size:], &t); err != nil || now.After(t.Till) {
		return "", errWebOver
	}
	a, ok := g.find(t.Name)
	if !ok || webMark(a) != t.Mark {
		return "", errWebOver
	}
	return a.Name, nil
}

// login gives a token for a password with a code, or for a certificate. That a client
// has the key of its certificate only the page knows, so a certificate lets somebody
// look; a change wants a code in any case.
func (g *webGate) login(r web.AdminRequest, now time.Time) (token, name string, err error) {
	var a schema.WebAdmin
	if len(r.Certificate) > 0 {
		sum := sha256.Sum256(r.Certificate)
		print := hex.EncodeToString(sum[:])
		i := slices.IndexFunc(g.host.Web.Admins, func(a schema.WebAdmin) bool { return slices.Contains(a.Certificates, print) })
		if i < 0 {
			return "", "", fmt.Errorf("%w: %s", errWebStranger, print)
		}
		a = g.host.Web.Admins[i]
	} else if a, err = g.prove(r.Name, r.Password, r.Code, now); err != nil {
		return "", "", err
	}
	token, err = g.issue(a, now)
	return token, a.Name, err
}

// webMemory is what is remembered of an admin.
type webMemory struct {
	Step    int64     `json:"step"` // of the last code that was taken: each is good once
	Guesses int       `json:"guesses,omitempty"`
	At      time.Time `json:"at,omitzero"` // of the last guess
}

// prove wants a password and a code that was not used before. For a name that no admin
// has, the same is done with what another one has, and written down as well.
func (g *webGate) prove(name, password, code string, now time.Time) (schema.WebAdmin, error) {
	a, known := g.find(name)
	if !known {
		if len(g.host.Web.Admins) == 0 {
			return a, errWebRefused
		}
		a = g.host.Web.Admins[0]
		a.Name = ""
	}
	err := g.guess(a, now, func(m *webMemory) error {
		err := g.check(a, m, password, code, now)
		if !known && err == nil {
			err = errWebRefused
		}
		return err
	})
	if errors.Is(err, errWebTooMany) { // which takes as long as for a name that no admin has
		g.check(a, &webMemory{Step: math.MaxInt64}, password, code, now)
	}
	return a, err
}

// confirm takes a code that was not used before, for a change.
func (g *webGate) confirm(name, code string, now time.Time) error {
	a, ok := g.find(name)
	if !ok {
		return errWebRefused
	}
	return g.guess(a, now, func(m *webMemory) error {
		secret, err := readTOTP(a.TOTPFile)
		if err != nil {
			return fmt.Errorf("admin %s: %w", a.Name, err)
		}
		step, good := secret.Check(code, now, m.Step)
		if !good {
			return errWebCode
		}
		m.Step = step
		return nil
	})
}

// guess lets an admin try something that could be guessed, unless there was too much of it.
func (g *webGate) guess(a schema.WebAdmin, now time.Time, try func(*webMemory) error) error {
	return g.remember(a.Name, func(m *webMemory) error {
		if past := int(now.Sub(m.At) / webGuessEvery); past > 0 {
			m.Guesses = max(0, m.Guesses-past)
		}
		if m.Guesses >= webGuesses {
			return errWebTooMany
		}
		if err := try(m); err != nil {
			m.Guesses, m.At = m.Guesses+1, now
			return err
		}
		m.Guesses = 0
		return nil
	})
}

// check does both checks whatever the first one says.
func (g *webGate) check(a schema.WebAdmin, m *webMemory, password, code string, now time.Time) error {
	h, err := auth.ParseHash(string(a.Hash))
	if err != nil {
		return fmt.Errorf("admin %s: %w", a.Name, err)
	}
	secret, err := readTOTP(a.TOTPFile)
	if err != nil {
		return fmt.Errorf("admin %s: %w", a.Name, err)
	}
	right := h.Verify(password)
	step, good := secret.Check(code, now, m.Step)
	if !right || !good {
		return errWebRefused
	}
	m.Step = step
	return nil
}

// readTOTP reads the first line of a file that nobody but root may read.
func readTOTP(path string) (web.TOTP, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 || !fi.Mode().IsRegular() {
		return nil, hint(fmt.Errorf("%s is no file for root alone", path), "run %q", "chmod 600 "+path)
	}
	line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	secret, err := web.ParseTOTP(line)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return secret, err
}

// remember has change look at what is known of an admin and take note, alone: two
// requests at once cannot use one code, and a guess counts before it is answered.
func (g *webGate) remember(name string, change func(*webMemory) error) error {
	lock, err := os.Open(g.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", g.dir, err)
	}
	path := filepath.Join(g.dir, webAdminsFile)
	all := map[string]webMemory{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	m := all[name]
	said := change(&m)
	all[name] = m
	for known := range all {
		if _, ok := g.find(known); !ok {
			delete(all, known)
		}
	}
	data, err = json.Marshal(all)
	if err == nil {
		err = reconcile.ReplaceFile(path, reconcile.Private(data))
	}
	return errors.Join(said, err)
}

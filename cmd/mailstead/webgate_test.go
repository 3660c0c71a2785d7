package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile/web"
	"mailstead/render"
	"mailstead/schema"
)

const testSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// gated is a host with an admin, and the code of a moment.
func gated(t *testing.T) (*webGate, func(time.Time) string) {
	t.Helper()
	state, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hashBcrypt("wonder land")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(state, "totp")
	if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("certificate"))
	host := &schema.Host{Name: "mail.example.org", Paths: schema.Paths{State: state, Run: state}, Web: &schema.Web{Admins: []schema.WebAdmin{
		{Name: "helpdesk", Hash: schema.Secret(hash), TOTPFile: file, Certificates: []string{hex.EncodeToString(sum[:])}},
	}}}
	if err := os.Mkdir(render.WebDir(host.Paths), 0o700); err != nil {
		t.Fatal(err)
	}
	g, err := openWebGate(host)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := web.ParseTOTP(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return g, func(at time.Time) string { return secret.Code(at.Unix() / 30) }
}

func TestWebGate(t *testing.T) {
	g, code := gated(t)
	now := time.Unix(1_800_000_000, 0)
	login := func(name, password, code string) (string, error) {
		token, _, err := g.login(web.AdminRequest{Name: name, Password: password, Code: code}, now)
		return token, err
	}
	for _, r := range [][3]string{
		{"helpdesk", "wrong", code(now)}, {"helpdesk", "wonder land", "000000"}, {"helpdesk", "wonder land", ""},
		{"nobody", "wonder land", code(now)}, {"", "", ""},
	} {
		if token, err := login(r[0], r[1], r[2]); token != "" || !errors.Is(err, errWebRefused) {
			t.Errorf("%q: %q, %v", r, token, err)
		}
	}
	token, err := login("helpdesk", "wonder land", code(now))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := g.token(token, now); name != "helpdesk" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := login("helpdesk", "wonder land", code(now)); err == nil {
		t.Error("a code was taken twice")
	}
	if err := g.confirm("helpdesk", code(now), now); err == nil {
		t.Error("the code of the login confirms a change")
	}
	later := now.Add(30 * time.Second)
	if err := g.confirm("helpdesk", code(later), later); err != nil {
		t.Error(err)
	}
	if _, err := g.token(token, now.Add(webTokenLife+time.Second)); err == nil {
		t.Error("a token is good for ever")
	}
	file := g.host.Web.Admins[0].TOTPFile
	for _, secret := range []string{strings.Repeat(testSecret, 2), testSecret} {
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := g.token(token, now); (err == nil) != (secret == testSecret) {
			t.Errorf("with the secret %s: %v", secret, err)
		}
	}
	g.host.Web.Admins[0].Hash += "x"
	if _, err := g.token(token, now); err == nil {
		t.Error("a token outlives the password")
	}
}

// Of a token nothing can be changed, nor its key guessed from another host's.
func TestWebTokens(t *testing.T) {
	g, code := gated(t)
	now := time.Unix(1_800_000_000, 0)
	token, _, err := g.login(web.AdminRequest{Name: "helpdesk", Password: "wonder land", Code: code(now)}, now)
	if err != nil {
		t.Fatal(err)
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] ^= 1
		if _, err := g.token(base64.RawURLEncoding.EncodeToString(data), now); err == nil {
			t.Errorf("octet %d may be another", i)
		}
		data[i] ^= 1
	}
	for n := range len(token) {
		if _, err := g.token(token[:n], now); err == nil {
			t.Errorf("%d characters are enough", n)
		}
	}
	other, _ := gated(t)
	other.host.Web.Admins[0] = g.host.Web.Admins[0]
	if _, err := other.token(token, now); err == nil {
		t.Error("good on another host")
	}
	if again, err := openWebGate(g.host); err != nil {
		t.Error(err)
	} else if _, err := again.token(token, now); err != nil {
		t.Error("the next process does not know it")
	}
}

func TestWebCertificate(t *testing.T) {
	g, _ := gated(t)
	now := time.Unix(1_800_000_000, 0)
	token, name, err := g.login(web.AdminRequest{Certificate: []byte("certificate")}, now)
	if token == "" || name != "helpdesk" {
		t.Error(err)
	}
	if token, _, err := g.login(web.AdminRequest{Certificate: []byte("another")}, now); token != "" || err == nil {
		t.Error("another certificate was taken")
	}
	g.host.Web.Admins[0].Certificates = nil
	if _, err := g.token(token, now); err == nil {
		t.Error("a token outlives the certificate")
	}
}

// Guesses are heard ten at once, then one in two minutes, however many processes ask.
func TestWebGuesses(t *testing.T) {
	g, code := gated(t)
	now := time.Unix(1_800_000_000, 0)
	heard := 0
	for range 30 {
		if err := g.confirm("helpdesk", "000000", now); err != nil && !strings.Contains(err.Error(), "too many") {
			heard++
		}
	}
	if heard != webGuesses {
		t.Errorf("%d were heard", heard)
	}
	if err := g.confirm("helpdesk", code(now), now); err == nil {
		t.Error("one more was heard")
	}
	later := now.Add(webGuessEvery)
	if err := g.confirm("helpdesk", code(later), later); err != nil {
		t.Error(err)
	}
}

// A stranger is told the same of a name that an admin has as of any other: after too
// many guesses, too, and where the host is at fault.
func TestWebStranger(t *testing.T) {
	g, _ := gated(t)
	d := webDesk{host: g.host, description: t.TempDir(), log: slog.New(slog.DiscardHandler), now: time.Unix(1_800_000_000, 0)}
	login := func(name string) web.AdminAnswer {
		return d.answer(t.Context(), web.AdminRequest{Do: web.AdminLogin, Name: name, Password: "x", Code: "1"})
	}
	file := g.host.Web.Admins[0].TOTPFile
	for n := range webGuesses + 3 {
		if g.host.Web.Admins[0].TOTPFile = file; n == 0 {
			g.host.Web.Admins[0].TOTPFile = "/nowhere"
		}
		want := login("nobody")
		if a := login("helpdesk"); a.Error != errWebRefused.Error() || a.Wrong != (n > 0) || !reflect.DeepEqual(a, want) {
			t.Errorf("guess %d: %+v, of any other name %+v", n, a, want)
		}
	}
}

// The file of a secret is for root alone, and a file.
func TestReadTOTP(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "totp")
	if err := os.WriteFile(file, []byte(testSecret), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir, filepath.Join(dir, "none"), os.DevNull} {
		if _, err := readTOTP(path); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readTOTP(file); err != nil {
		t.Error(err)
	}
}

// Without a token nothing is answered, whatever is asked.
func TestWebDeskWithoutToken(t *testing.T) {
	g, code := gated(t)
	now := time.Unix(1_800_000_000, 0)
	d := webDesk{host: g.host, description: t.TempDir(), log: slog.New(slog.DiscardHandler), now: now}
	for _, do := range []string{web.AdminStatus, web.AdminSessions, web.AdminEndSession, web.AdminUsers, web.AdminUsage, web.AdminDrift, web.AdminHistory, web.AdminHosts, web.AdminPropose, web.AdminApply, ""} {
		a := d.answer(t.Context(), web.AdminRequest{Do: do, Name: "helpdesk", Password: "wonder land", Code: code(now), Change: &web.Change{Kind: web.AddUser}})
		if !a.Over || a.Status != nil || a.Users != nil || a.Proposal != nil {
			t.Errorf("%q: %+v", do, a)
		}
	}
}

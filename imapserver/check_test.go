package imapserver

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// TestCheck: a dry start says what a start would, and needs none of the ports.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := testConfig(dir)
	c.Listeners[0].Address, c.Listeners[0].Port = "127.0.0.1", taken.Addr().(*net.TCPAddr).Port
	users := []config.User{testUser(t, dir, "alice")}
	pem := issue(t, time.Now().Add(time.Hour), "mail.example")
	path := write(t, dir, c, users, pem)
	if err := Check(path, Options{}); err != nil {
		t.Error(err)
	}

	good := func() config.Staged {
		data, err := config.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		var list bytes.Buffer
		if err := config.EncodeUsers(&list, c.Workers, users); err != nil {
			t.Fatal(err)
		}
		return config.Staged{Config: data, Users: list.Bytes(), PEM: map[string][]byte{c.TLS.Bundles[0].Name: pem}}
	}
	if err := os.RemoveAll(path); err != nil { // nothing is read from the disk
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		spoil func(*config.Staged)
		want  string // "" for no fault
	}{
		"good":                       {func(*config.Staged) {}, ""},
		"no bundle":                  {func(s *config.Staged) { s.PEM = nil }, "bundle"},
		"an empty bundle":            {func(s *config.Staged) { s.PEM[c.TLS.Bundles[0].Name] = []byte{} }, "bundle"},
		"another key":                {func(s *config.Staged) { s.PEM[c.TLS.Bundles[0].Name] = otherKey(t, pem) }, "private key does not match"},
		"a torn configuration":       {func(s *config.Staged) { s.Config = s.Config[:50] }, "parse configuration"},
		"a torn list of users":       {func(s *config.Staged) { s.Users = s.Users[:len(s.Users)-5] }, "torn"},
		"a policy that is not known": {func(s *config.Staged) { s.Config = bytes.Replace(s.Config, []byte(c.TLS.Policy), []byte("x"), 1) }, "policy"},
		"no keys of an issuer": {func(s *config.Staged) {
			with := *c
			with.Logins = &config.Logins{Keep: dir, Issuer: &config.Issuer{Name: "https://id.example", Audience: "imap", Keys: filepath.Join(dir, "keys.json"), Claim: "sub", Methods: config.IssuerMethods}}
			if s.Config, err = config.Encode(&with); err != nil {
				t.Fatal(err)
			}
		}, "keys of the issuer"},
	} {
		st := good()
		tt.spoil(&st)
		err := CheckStaged(st, Options{})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// otherKey is the certificate with the key of another.
func otherKey(t *testing.T, bundle []byte) []byte {
	other := issue(t, time.Now().Add(time.Hour), "mail.example")
	_, chain, _ := bytes.Cut(bundle, []byte("-----BEGIN CERTIFICATE-----"))
	key, _, _ := bytes.Cut(other, []byte("-----BEGIN CERTIFICATE-----"))
	return append(append(key, "-----BEGIN CERTIFICATE-----"...), chain...)
}

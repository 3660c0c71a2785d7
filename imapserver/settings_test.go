package imapserver

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// write puts the files of a daemon into dir, as mailstead apply would.
func write(t testing.TB, dir string, c *config.Config, users []config.User, pem ...[]byte) string {
	t.Helper()
	data, err := config.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := config.EncodeUsers(&b, c.Workers, users); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	files := map[string][]byte{path: data, c.Users: b.Bytes()}
	for i, bundle := range c.TLS.Bundles {
		files[bundle.File] = pem[i]
	}
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	users := []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}
	path := write(t, dir, c, users, issue(t, time.Now().Add(time.Hour), "mail.example"))
	s, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := s.user("bob"); !ok || !reflect.DeepEqual(u, users[1]) {
		t.Errorf("%+v", u)
	}
	for _, name := range []string{"", "Bob", "carol", "alic", "alicf"} {
		if _, ok := s.user(name); ok {
			t.Errorf("%q is a user", name)
		}
	}
	for name, tt := range map[string]struct {
		spoil func() error
		want  string
	}{
		"no configuration":    {func() error { return os.Remove(path) }, "config.json"},
		"torn":                {func() error { return os.Truncate(path, 100) }, "config.json"},
		"no users":            {func() error { return os.Remove(c.Users) }, "users.ndjson"},
		"torn users":          {func() error { return os.Truncate(c.Users, 100) }, "users.ndjson"},
		"no certificate":      {func() error { return os.Remove(c.TLS.Bundles[0].File) }, "mail.pem"},
		"empty certificate":   {func() error { return os.Truncate(c.TLS.Bundles[0].File, 0) }, "mail.pem"},
		"endless certificate": {func() error { return os.Truncate(c.TLS.Bundles[0].File, maxBundle+1) }, "more than"},
	} {
		write(t, dir, c, users, issue(t, time.Now().Add(time.Hour), "mail.example"))
		if err := tt.spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettingsRefuse(t *testing.T) {
	dir := t.TempDir()
	pem := issue(t, time.Now().Add(time.Hour), "mail.example")
	user := testUser(t, dir, "alice")
	pam := user
	pam.Hash = ""
	if _, err := NewSettings(testConfig(dir), []config.User{pam}, [][]byte{pem}); err == nil || !strings.Contains(err.Error(), "PAM") {
		t.Errorf("a user without a hash, and no PAM: %v", err)
	}
	if _, err := NewSettings(testConfig(dir), []config.User{user}, nil); err == nil {
		t.Error("a bundle without its file")
	}
	workers := testConfig(dir)
	workers.Workers = config.WorkerPerUID
	workers.Service = config.Identity{UID: 997, GID: 997}
	workers.PAM = &config.PAM{Service: "imap", Helper: "/helper"}
	workers.Roles = &config.Roles{Login: config.Identity{UID: 996, GID: 996}, Auth: "/auth", Spawn: "/spawn"}
	for name, tt := range map[string]struct {
		hash     string
		uid, gid int
		ok       bool
	}{
		"a person":                     {"", 1000, 1000, true},
		"an account of the system":     {"", 999, 1000, false},
		"the mail account":             {user.Hash, 998, 998, true},
		"an account of the Debian's":   {user.Hash, 8, 8, false},
		"the service account":          {user.Hash, 997, 997, false},
		"the account of logins":        {user.Hash, 996, 996, false},
		"the group of another account": {user.Hash, 998, 8, false},
	} {
		u := user
		u.Hash, u.UID, u.GID = tt.hash, tt.uid, tt.gid
		if _, err := NewSettings(workers, []config.User{u}, [][]byte{pem}); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckReload(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	user := testUser(t, dir, "alice")
	good, expired := issue(t, now.Add(time.Hour), "mail.example"), issue(t, now.Add(-time.Hour), "mail.example")
	old := func(pem []byte) *Settings {
		s, err := NewSettings(testConfig(dir), []config.User{user}, [][]byte{pem})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, tt := range map[string]struct {
		change func(*config.Config)
		pem    []byte
		want   string // "" for no fault
	}{
		"nothing":         {func(*config.Config) {}, good, ""},
		"generation":      {func(c *config.Config) { c.Generation = "second" }, good, ""},
		"policy":          {func(c *config.Config) { c.TLS.Policy = config.Intermediate }, good, ""},
		"TLS of listener": {func(c *config.Config) { c.Listeners[0].TLS = config.Implicit }, good, ""},
		"order":           {func(c *config.Config) { c.Listeners[0], c.Listeners[1] = c.Listeners[1], c.Listeners[0] }, good, ""},
		"port":            {func(c *config.Config) { c.Listeners[0].Port = 1 }, good, "listener imap is new or has moved"},
		"new listener": {func(c *config.Config) {
			c.Listeners = append(c.Listeners, config.Listener{Name: "x", Port: 1, TLS: config.Implicit})
		}, good, "listener x is new"},
		"listener is gone": {func(c *config.Config) { c.Listeners = c.Listeners[:1] }, good, "listener imaps is gone"},
		"control":          {func(c *config.Config) { c.Control = "/x" }, good, "control has changed"},
		"service":          {func(c *config.Config) { c.Service.UID++ }, good, "service has changed"},
		"workers": {func(c *config.Config) {
			c.Workers, c.Service.UID = config.WorkerPerUID, 500
			c.Roles = &config.Roles{Auth: "/auth", Spawn: "/spawn"}
		}, good, "workers has changed"},
		"expired":      {func(*config.Config) {}, expired, "expired on"},
		"another name": {func(c *config.Config) { c.TLS.Bundles[0].Names = []string{"other.example"} }, issue(t, now.Add(time.Hour), "mail.example"), "not for other.example"},
	} {
		c := testConfig(dir)
		tt.change(c)
		u := user
		u.UID, u.GID = 1000, 1000
		s, err := NewSettings(c, []config.User{u}, [][]byte{tt.pem})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = s.checkReload(old(good), now)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, not %q", name, err, tt.want)
		}
	}
	// The expired certificate that is served already stands in nobody's way.
	if err := old(expired).checkReload(old(expired), now); err != nil {
		t.Errorf("expired before and after: %v", err)
	}
}

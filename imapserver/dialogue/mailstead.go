package dialogue

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mailstead/imapserver"
	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/login"
	"mailstead/imapserver/sasl"
)

// listeners is what both servers serve, and how.
var listeners = []config.Listener{
	{Name: "plain", Address: "127.0.0.1", TLS: config.Plain},
	{Name: "starttls", Address: "127.0.0.1", TLS: config.STARTTLS},
	{Name: "tls", Address: "127.0.0.1", TLS: config.Implicit},
}

// Mailstead starts a server of our own in this process, for as long as the
// test runs, with one user whose Maildir is empty, and others who may share theirs.
func Mailstead(t testing.TB, setup Setup) *Account {
	t.Helper()
	a := account(t, "demo")
	for _, name := range setup.Users {
		if a.Others == nil {
			a.Others = map[string]*Account{}
		}
		a.Others[name] = account(t, name)
	}
	id, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	a.Roots = id.roots
	sockets, err := bind()
	if err != nil {
		t.Fatal(err)
	}
	a.Dial = func(listener string) (net.Conn, error) {
		addr := sockets[listener][0].Addr()
		return net.DialTimeout(addr.Network(), addr.String(), patience)
	}
	start(t, a, id, setup, sockets)
	return a
}

// account makes a user of our server.
func account(t testing.TB, user string) *Account {
	t.Helper()
	a := &Account{
		Server:   "mailstead",
		User:     user,
		Password: "secret",
		Maildir:  filepath.Join(t.TempDir(), user, "Maildir"),
		UID:      os.Getuid(),
		GID:      os.Getgid(),
	}
	a.Use = func(use, folder string) error { return useFolder(a.Maildir, use, folder) }
	err := os.Mkdir(filepath.Dir(a.Maildir), 0o700)
	if err == nil {
		err = makeMaildir(a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// start serves the account and stops with the test.
func start(t testing.TB, a *Account, id *identity, setup Setup, sockets imapserver.Listeners) {
	t.Helper()
	hash, err := hashOf(a.Password, setup.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	conf := &config.Config{
		Version:    config.FormatVersion,
		Generation: "dialogue",
		Hostname:   "localhost",
		Control:    "/nonexistent/control",
		Users:      "/nonexistent/users.ndjson",
		Service:    config.Identity{UID: a.UID, GID: a.GID},
		Listeners:  listeners,
		TLS: config.TLS{Policy: config.Modern, Bundles: []config.Bundle{
			{Name: "localhost", File: "/nonexistent/localhost.pem", Names: []string{"localhost"}},
		}},
		Namespace: setup.Namespace,
		Keep:      setup.Keep,
		Sharing:   len(a.Others) > 0,
		Admin:     "mailto:postmaster@example.org",
		Workers:   config.WorkerInline,
	}
	var users []config.User
	for _, u := range append(slices.Collect(maps.Values(a.Others)), a) {
		users = append(users, config.User{Name: u.User, Hash: hash, UID: u.UID, GID: u.GID, Home: filepath.Dir(u.Maildir), Maildir: u.Maildir})
	}
	own := &users[len(users)-1]
	own.Off, own.Quota, own.Elsewhere, own.Discard = setup.Off, setup.Quota, setup.Elsewhere, setup.Discard
	slices.SortFunc(users, func(x, y config.User) int { return strings.Compare(x.Name, y.Name) })
	settings, err := imapserver.NewSettings(conf, users, [][]byte{append(id.key, id.certificate...)})
	if err != nil {
		t.Fatal(err)
	}
	guard := auth.Default
	guard.Delay = time.Millisecond
	limits := login.Default
	server, err := imapserver.NewInline(settings, imapserver.Options{
		Log:   slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Login: &limits,
		Auth:  &guard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if err := server.Start(context.Background(), sockets); err != nil {
		t.Fatal(err)
	}
}

func hashOf(password string, verifier bool) (string, error) {
	if verifier {
		v, err := sasl.MakeVerifier(password, []byte("a salt of sixteen"), sasl.MinIterations)
		return v.String(), err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost+1)
	return string(hash), err
}

// testWriter puts what the server logs into the test's output.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("log: %s", p)
	return len(p), nil
}

func bind() (imapserver.Listeners, error) {
	sockets := imapserver.Listeners{}
	for _, l := range listeners {
		socket, err := net.Listen("tcp", net.JoinHostPort(l.Address, "0"))
		if err != nil {
			sockets.Close()
			return nil, err
		}
		sockets[l.Name] = []net.Listener{socket}
	}
	return sockets, nil
}

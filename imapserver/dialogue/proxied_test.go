package dialogue_test

import (
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver"
	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/dialogue"
)

// throughProxy has an account's connections in the clear go through a proxy in front
// of its server.
func throughProxy(t *testing.T, a *dialogue.Account) {
	t.Helper()
	c, err := a.Dial("plain")
	if err != nil {
		t.Fatal(err)
	}
	server := c.RemoteAddr().(*net.TCPAddr)
	c.Close()
	settings, err := imapserver.NewSettings(&config.Config{
		Version: config.FormatVersion, Generation: "proxy", Hostname: "localhost", Control: "/nonexistent/control", Users: "/nonexistent/users.ndjson",
		Listeners: []config.Listener{{Name: "plain", Address: "127.0.0.1", TLS: config.Plain, Proxy: &config.Proxy{
			Servers: []config.Server{{Host: "127.0.0.1", Port: server.Port, TLS: config.Plain}}, Webmail: []string{"127.0.0.1"},
		}}},
		TLS: config.TLS{Policy: config.Modern}, Workers: config.WorkerInline,
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	limits := auth.Default
	limits.Delay = 0
	proxy, err := imapserver.NewInline(settings, imapserver.Options{Log: slog.New(slog.DiscardHandler), Auth: &limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	l, err := imapserver.Bind(settings.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.Start(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // until it knows what the server offers
		st, err := proxy.Status(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v %v", st, err)
		}
		if st.Proxies[0].Known {
			break
		}
	}
	direct := a.Dial
	a.Dial = func(listener string) (net.Conn, error) {
		if listener != "plain" {
			return direct(listener)
		}
		return net.Dial("tcp", l["plain"][0].Addr().String())
	}
}

// ends are the scripts about what ends at a proxy; dovecotEnds those in which Dovecot's
// own way before a login is another one.
var (
	ends        = []string{"scram", "capability"}
	dovecotEnds = []string{"authenticate-abort", "bad-limit", "capability"}
)

// TestMailsteadProxied runs every script through a proxy: whatever is said after the
// login goes through as it is.
func TestMailsteadProxied(t *testing.T) {
	for _, s := range scripts(t) {
		if s.Only != "" && s.Only != "mailstead" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if slices.Contains(ends, s.Name) {
				t.Skip("about what ends at a proxy")
			}
			a := dialogue.Mailstead(t, s.Setup)
			throughProxy(t, a)
			dialogue.Run(t, s, a)
		})
	}
}

// TestDovecotProxied is TestDovecot through a proxy.
func TestDovecotProxied(t *testing.T) {
	list := scripts(t)
	d := dialogue.StartDovecot(t, dovecot(t), list)
	t.Run("scripts", func(t *testing.T) {
		for _, s := range list {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				if s.Only != "" && s.Only != "dovecot" || d.Lacks(s) != "" || slices.Contains(dovecotEnds, s.Name) {
					t.Skip("nothing for Dovecot behind a proxy")
				}
				a, err := d.Account(s)
				if err != nil {
					t.Fatal(err)
				}
				throughProxy(t, a)
				dialogue.Run(t, s, a)
			})
		}
	})
}

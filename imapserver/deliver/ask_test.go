package deliver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// TestFindAsks: whom no table has auth is asked for, by all names that the address may
// mean and nothing else; what cannot be found out may pass.
func TestFindAsks(t *testing.T) {
	dir, err := os.MkdirTemp("", "ask") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "deliver")
	h := head
	h.Open, h.Ask = true, socket
	write(t, filepath.Join(dir, config.SystemDeliveries), 0o644, h, "alice")
	tables := NewTables(dir)
	fault := func(address string) int {
		_, err := tables.Find(address)
		var f *Fault
		if !errors.As(err, &f) {
			t.Fatalf("%q: %v", address, err)
		}
		return f.Code
	}
	if code := fault("carol@example.org"); code != 451 {
		t.Errorf("while auth is away: %d", code)
	}
	l, err := control.ListenAll(socket)
	if err != nil {
		t.Fatal(err)
	}
	var asked [][]string
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- control.RecipientServer{
			Allow: func(int) bool { return true },
			Answer: func(_ context.Context, uid int, r control.RecipientRequest) control.Recipient {
				asked = append(asked, r.Names)
				if uid != os.Getuid() {
					return control.Recipient{Error: "another uid asks"}
				}
				for i, name := range r.Names {
					switch name {
					case "carol":
						return control.Recipient{Known: true, Meant: i, Name: name, UID: 500, GID: 501, Maildir: "/m/carol", Roots: []string{"/m"}, Quota: &control.Quota{Messages: 7}}
					case "down":
						return control.Recipient{Error: "nobody answers"}
					case "silent":
						return control.Recipient{Error: "no password", Untold: true}
					case "odd":
						return control.Recipient{Known: true, Meant: 99, Roots: []string{"/m"}}
					}
				}
				return control.Recipient{}
			},
		}.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	got, err := tables.Find("Carol+Lists@Example.org")
	if err != nil || got.Name != "carol" || got.Mailbox != "Lists" || got.UID != 500 || got.GID != 501 || got.Maildir != "/m/carol" || got.Roots[0] != "/m" || got.Quota.Messages != 7 {
		t.Errorf("%+v %v", got, err)
	}
	want := []string{"Carol+Lists@example.org", "carol+lists@example.org", "Carol@example.org", "carol@example.org", "Carol+Lists", "carol+lists", "Carol", "carol"}
	if len(asked) != 1 || !slices.Equal(asked[0], want) {
		t.Errorf("asked for %q", asked)
	}
	if got, err := tables.Find("alice@example.org"); err != nil || got.Name != "alice" || len(asked) != 1 {
		t.Errorf("who is in a table: %+v %v, asked for %q", got, err, asked)
	}
	for address, want := range map[string]int{"nobody@example.org": 550, "carol@elsewhere.example": 550, "down@example.org": 451, "silent@example.org": 450} {
		if code := fault(address); code != want {
			t.Errorf("%s: %d, not %d", address, code, want)
		}
	}
	if _, err := tables.Find("odd@example.org"); err == nil || AsFault(err).Code != 451 {
		t.Errorf("an answer that makes no sense: %v", err)
	}
	for range maxAsking {
		tables.asking <- struct{}{}
	}
	if code := fault("carol@example.org"); code != 451 {
		t.Errorf("where too many ask: %d", code)
	}
}

// TestFindNamesake: who may not read the table in which an address is as a whole does not
// give its mail to whoever has the local part.
func TestFindNamesake(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads every table") // and TestDeliverByExim has it
	}
	dir := t.TempDir()
	h := head
	h.Whole = []string{"bob@example.org"}
	write(t, filepath.Join(dir, config.SystemDeliveries), 0o644, h, "bob", "alice")
	write(t, filepath.Join(dir, config.VirtualDeliveries), 0, head, "bob@example.org")
	tables := NewTables(dir)
	for address, ok := range map[string]bool{"bob": true, "alice@example.org": true, "bob@example.org": false, "Bob+x@Example.org": false} {
		if got, err := tables.Find(address); (err == nil) != ok || err != nil && AsFault(err).Code != 451 {
			t.Errorf("%s: %+v %v", address, got, err)
		}
	}
}

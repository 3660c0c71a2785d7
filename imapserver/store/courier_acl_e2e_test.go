package store_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
	"mailstead/imapserver/store"
)

// TestCourierACL: the rights that we give, Courier has, and those that Courier
// gives we have; each has the others' folders, and those that it makes, follow
// the same rules.
func TestCourierACL(t *testing.T) {
	dialogue.LabDir(t)
	home := t.TempDir()
	dir := filepath.Join(home, "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	open := func() *store.Account {
		a, err := store.Open(ctx, store.Options{Maildir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	give := func(a *store.Account, name, id, rights string) {
		err := a.ChangeACL(ctx, name, func(acl store.ACL) (store.ACL, error) {
			return acl.With(id, false, store.ParseRights(rights)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a := open()
	for _, name := range []string{"Team", "Team.Sub", "Only.Below", "Other"} {
		if err := a.Create(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	give(a, "Team", "user=bob", "lrstwiekx")
	give(a, "Team", "anyone", "l")
	give(a, "INBOX", "user=carol", "lr")
	give(a, "Only.Below", "user=bob", "lr")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	address := dialogue.StartCourier(t, dialogue.CourierUser{Name: "demo", Password: "secret", Home: home, UID: os.Getuid(), GID: os.Getgid()})
	c := dialCourier(t, address)
	// Courier answers in terms of RFC 2086: c is k, d is e, t and x together.
	for name, want := range map[string]string{
		"INBOX":            `"owner" "acdilrsw" "administrators" "acdilrsw" "carol" "lr"`,
		"INBOX.Team":       `"owner" "acdilrsw" "administrators" "acdilrsw" "bob" "cdilrsw" "anyone" "l"`,
		"INBOX.Team.Sub":   `"owner" "acdilrsw" "administrators" "acdilrsw"`,
		"INBOX.Only.Below": `"owner" "acdilrsw" "administrators" "acdilrsw" "bob" "lr"`,
		"INBOX.Other":      `"owner" "acdilrsw" "administrators" "acdilrsw"`,
	} {
		said := c.say(`GETACL "` + name + `"`)
		got := strings.TrimPrefix(said[0], `* ACL "`+name+`" `)
		if diff := cmp.Diff(pairs(want), pairs(got)); diff != "" {
			t.Errorf("%s: we gave (-), Courier says (+):\n%s", name, diff)
		}
	}
	for _, command := range []string{
		`SETACL "INBOX.Other" bob "lrd"`,
		`SETACL "INBOX.Other" -carol "r"`,
		`SETACL "INBOX.Team" bob "-w"`,
		`CREATE "INBOX.Team.New"`,
		`SETACL "INBOX" bob "l"`,
	} {
		c.say(command)
	}
	c.Close()
	a = open()
	defer a.Close()
	for _, tt := range []struct{ name, user, want string }{
		{"Other", "bob", "lrtex"},
		{"Other", "carol", ""},
		{"Team", "bob", "lrstiekx"},
		{"Team", "dave", "l"},
		{"Team.Sub", "bob", ""},
		{"Team.New", "bob", "lrstiekx"}, // inherited when it was made
		{"INBOX", "bob", "l"},
		{"INBOX", "carol", "lr"},
		{"Only.Below", "carol", ""},
	} {
		r, err := a.Rights(ctx, tt.name, tt.user, false)
		if err != nil || r != store.ParseRights(tt.want) {
			t.Errorf("%s has %s to %s, %v; want %s", tt.user, r, tt.name, err, tt.want)
		}
	}
}

// pairs gives identifiers and rights, in any order.
func pairs(s string) map[string]string {
	words := strings.Fields(strings.ReplaceAll(s, `"`, ""))
	m := map[string]string{}
	for i := 0; i+1 < len(words); i += 2 {
		m[words[i]] = words[i+1]
	}
	return m
}

// courierConn speaks to Courier what no client library does.
type courierConn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
	n int
}

func dialCourier(t *testing.T, address string) *courierConn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	c := &courierConn{Conn: nc, t: t, r: bufio.NewReader(nc)}
	c.r.ReadString('\n')
	c.say("LOGIN demo secret")
	return c
}

// say sends a command and gives the untagged responses; it must succeed.
func (c *courierConn) say(command string) []string {
	c.t.Helper()
	c.n++
	fmt.Fprintf(c, "a%d %s\r\n", c.n, command)
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", command, err)
		}
		if strings.HasPrefix(line, fmt.Sprintf("a%d ", c.n)) {
			if !strings.HasPrefix(line, fmt.Sprintf("a%d OK", c.n)) {
				c.t.Fatalf("%s: %s", command, line)
			}
			return append(lines, "")
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
	}
}

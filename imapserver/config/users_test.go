package config

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

const userHead = `{"version":1,"users":1}` + "\n"

func alice() User {
	return User{Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice", Maildir: "/home/alice/Maildir"}
}

func bob() User {
	return User{Name: "bob@example.org", Hash: "$y$j9T$c2FsdA$aGFzaA", UID: 990, GID: 991, Home: "/var/mail/virtual/bob", Maildir: "/var/mail/virtual/bob/Maildir"}
}

// collect keeps the users of an iteration that ended without an error.
func collect(users iter.Seq2[User, error]) ([]User, error) {
	var all []User
	for u, err := range users {
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

func TestUsersRoundTrip(t *testing.T) {
	want := []User{alice(), bob()}
	var b bytes.Buffer
	if err := EncodeUsers(&b, WorkerPerUID, want); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	golden := `{"version":1,"users":2}
{"name":"alice","uid":1000,"gid":1000,"home":"/home/alice","maildir":"/home/alice/Maildir"}
{"name":"bob@example.org","hash":"$y$j9T$c2FsdA$aGFzaA","uid":990,"gid":991,"home":"/var/mail/virtual/bob","maildir":"/var/mail/virtual/bob/Maildir"}
`
	if diff := cmp.Diff(golden, text); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	got, err := collect(ParseUsers(&b, WorkerPerUID))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// A file that lost any number of bytes at its end is never taken for whole.
func TestUsersTornAnywhere(t *testing.T) {
	var b bytes.Buffer
	if err := EncodeUsers(&b, WorkerPerUID, []User{alice(), bob()}); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if _, err := collect(ParseUsers(bytes.NewReader(b.Bytes()[:n]), WorkerPerUID)); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, b.Len())
		}
	}
}

func TestParseUsersFaults(t *testing.T) {
	line := func(s string) string { return userHead + s + "\n" }
	const good = `{"name":"alice","uid":1000,"gid":1000,"home":"/home/alice","maildir":"/home/alice/Maildir"}`
	for _, row := range []struct {
		name, text, want string
	}{
		{"empty", "", "line 1: the file is empty"},
		{"version", `{"version":2,"users":0,"more":1}` + "\n", "line 1: version 2 of the file: this program reads version 1 (run mailstead apply with the mailstead of the same release)"},
		{"no head", good + "\n", `line 1: unknown field "name"`},
		{"torn line", userHead + good[:20], "line 2: the line has no end: the file is torn"},
		{"torn between lines", userHead, "0 users where the first line announces 1: the file is torn"},
		{"too many", line(good + "\n" + strings.Replace(good, "alice", "bob", 1)), "2 users where the first line announces 1: the file is torn"},
		{"empty line", line(""), "line 2: the line is empty"},
		{"not JSON", line("alice:x:1000"), "line 2: 1:1: invalid character 'a' looking for beginning of value"},
		{"unknown field", line(`{"nam":"alice"}`), `line 2: unknown field "nam"`},
		{"twice", line(`{"name":"alice","name":"root"}`), `line 2: 1:17: field "name" is given twice`},
		{"two values", line(good + good), "line 2: 1:92: invalid character '{' after top-level value"},
		{"name missing", line(strings.Replace(good, "alice", "", 1)), "line 2: name: missing"},
		{"name with NUL", line(strings.Replace(good, "alice", `a\u0000b`, 1)), `line 2: name: "a\x00b" holds a control character`},
		{"name long", line(strings.Replace(good, "alice", strings.Repeat("a", 256), 1)), "line 2: name: 256 bytes, more than 255"},
		{"root", line(strings.Replace(good, `"uid":1000`, `"uid":0`, 1)), "line 2: uid or gid 0: no worker runs as root"},
		{"group root", line(strings.Replace(good, `"gid":1000`, `"gid":0`, 1)), "line 2: uid or gid 0: no worker runs as root"},
		{"negative", line(strings.Replace(good, `"uid":1000`, `"uid":-1`, 1)), "line 2: uid -1 is no uid"},
		{"hash", line(strings.Replace(good, `"uid"`, `"hash":"demo","uid"`, 1)), "line 2: hash: not in the form of crypt(5)"},
		{"home", line(strings.Replace(good, `"/home/alice"`, `"/"`, 1)), `line 2: home: "/" is not an absolute path in its shortest form`},
		{"maildir", line(strings.Replace(good, "/home/alice/Maildir", "Maildir", 1)), `line 2: maildir: "Maildir" is not an absolute path in its shortest form`},
		{"order", userHead + strings.Replace(good, "alice", "bob", 1) + "\n" + good + "\n", `line 3: name: "alice" stands after "bob"`},
		{"same name", userHead + good + "\n" + good + "\n", `line 3: name: "alice" is given twice`},
		{"long line", line(strings.Repeat("x", MaxUserLine+1)), "line 2: bufio.Scanner: token too long"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := collect(ParseUsers(strings.NewReader(row.text), WorkerPerUID))
			if err == nil {
				t.Fatal("parsed")
			}
			if diff := cmp.Diff("users: "+row.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsersInline(t *testing.T) {
	var b bytes.Buffer
	err := EncodeUsers(&b, WorkerInline, []User{alice(), bob()})
	if want := `encode user "bob@example.org": uid 990 and gid 991: one process for everything needs the same for all users (1000 and 1000)`; err == nil || err.Error() != want {
		t.Errorf("two uids inline: %v, want %s", err, want)
	}
	root := alice()
	root.UID, root.GID = 0, 0
	if err := EncodeUsers(&b, WorkerInline, []User{root}); err != nil {
		t.Errorf("root inline: %v", err)
	}
}

// Nothing of a hash that is refused may reach a log.
func TestHashIsNotShown(t *testing.T) {
	u := alice()
	u.Hash = "hunter2"
	if err := EncodeUsers(&bytes.Buffer{}, WorkerPerUID, []User{u}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestParseUsersStops(t *testing.T) {
	var users []User
	for i := range 10 {
		u := alice()
		u.Name = fmt.Sprintf("user%d", i)
		users = append(users, u)
	}
	var b bytes.Buffer
	if err := EncodeUsers(&b, WorkerPerUID, users); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range ParseUsers(&b, WorkerPerUID) {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("went on to %d after the break", n)
	}
}

// Whatever is accepted is written back so that it is accepted as the same.
func FuzzParseUsers(f *testing.F) {
	var b bytes.Buffer
	if err := EncodeUsers(&b, WorkerPerUID, []User{alice(), bob()}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"version":1,"users":0}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var users []User
		var err error
		if oracle.Cost(t, len(data), func() { users, err = collect(ParseUsers(bytes.NewReader(data), WorkerPerUID)) }); err != nil {
			return
		}
		var b bytes.Buffer
		if err := EncodeUsers(&b, WorkerPerUID, users); err != nil {
			t.Fatalf("parsed, but not encoded: %v", err)
		}
		again, err := collect(ParseUsers(&b, WorkerPerUID))
		if err != nil {
			t.Fatalf("encoded, but not parsed: %v", err)
		}
		if diff := cmp.Diff(users, again); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	})
}

// Ten thousand users are read at every reload.
func BenchmarkParseUsers(b *testing.B) {
	users := make([]User, 10_000)
	for i := range users {
		users[i] = bob()
		users[i].Name = fmt.Sprintf("user%05d", i)
	}
	var file bytes.Buffer
	if err := EncodeUsers(&file, WorkerPerUID, users); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := collect(ParseUsers(bytes.NewReader(file.Bytes()), WorkerPerUID)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAdmit: a directory gives nobody the uid of a process of ours.
func TestAdmit(t *testing.T) {
	c := &Config{Workers: WorkerPerUID, Service: Identity{2001, 2001}, Roles: &Roles{Login: Identity{2002, 2002}}, Web: &Web{UID: 2003},
		Directories: []Directory{{Name: "people", May: May{MinUID: 2000, MaxUID: 3000, MinGID: 100, Roots: []string{"/home"}}}}}
	for uid, want := range map[int]bool{2000: true, 2001: false, 2002: false, 2003: false} {
		u := User{Name: "dora", Directory: "people", UID: uid, GID: 2000, Home: "/home/dora", Maildir: "/home/dora/Maildir"}
		if err := c.Admit(u); (err == nil) != want {
			t.Errorf("uid %d: %v", uid, err)
		}
	}
}

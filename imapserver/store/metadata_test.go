package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// annotations shows what is in an entry and below it.
func annotations(t testing.TB, a *Account, mailbox string, scope Scope, entry string, depth int, most int64) []string {
	t.Helper()
	list, err := a.Metadata(context.Background(), mailbox, scope, entry, depth, most)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range list {
		if m.Value == nil {
			all = append(all, fmt.Sprintf("%s: %d octets", m.Entry, m.Size))
		} else {
			all = append(all, fmt.Sprintf("%s=%q", m.Entry, m.Value))
		}
	}
	return all
}

func annotate(t testing.TB, a *Account, mailbox string, scope Scope, pairs ...string) {
	t.Helper()
	var list []Annotation
	for _, p := range pairs {
		entry, value, _ := strings.Cut(p, "=")
		list = append(list, Annotation{Scope: scope, Entry: entry, Value: []byte(value)})
	}
	if err := a.SetMetadata(context.Background(), mailbox, list); err != nil {
		t.Fatal(err)
	}
}

func TestMetadata(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	create(t, a, "Box")
	annotate(t, a, "Box", Shared, "/shared/a=1", "/shared/a/b=22", "/shared/a/b/c=333", "/shared/a0=x", "/shared/a.=x", "/shared/empty=")
	annotate(t, a, "Box", Private(""), "/private/a=mine")
	annotate(t, a, "Box", Private("bob"), "/private/a=bob's\x00")
	annotate(t, a, "", Private(""), "/private/a=of the server")
	a = reopen(t, a)
	tests := []struct {
		mailbox string
		scope   Scope
		entry   string
		depth   int
		most    int64
		want    string
	}{
		{"Box", Shared, "/shared/a", 0, 100, `/shared/a="1"`},
		{"Box", Shared, "/shared/a", 1, 100, `/shared/a="1" /shared/a/b="22"`},
		{"Box", Shared, "/shared/a", 9, 100, `/shared/a="1" /shared/a/b="22" /shared/a/b/c="333"`},
		{"Box", Shared, "/shared/a", 9, 2, `/shared/a="1" /shared/a/b="22" /shared/a/b/c: 3 octets`},
		{"Box", Shared, "/shared", 1, 0, `/shared/a: 1 octets /shared/a.: 1 octets /shared/a0: 1 octets /shared/empty=""`},
		{"Box", Shared, "/shared/none", 9, 100, ``},
		{"Box", Private(""), "/private/a", 0, 100, `/private/a="mine"`},
		{"Box", Private("bob"), "/private/a", 0, 100, `/private/a="bob's\x00"`},
		{"Box", Private("carol"), "/private", 9, 100, ``},
		{"INBOX", Shared, "/shared", 9, 100, ``},
		{"", Private(""), "/private", 9, 100, `/private/a="of the server"`},
	}
	for _, tt := range tests {
		if got := strings.Join(annotations(t, a, tt.mailbox, tt.scope, tt.entry, tt.depth, tt.most), " "); got != tt.want {
			t.Errorf("%q %q %s %d: got %s, want %s", tt.mailbox, tt.scope, tt.entry, tt.depth, got, tt.want)
		}
	}
	for _, name := range []string{"None", "Box.None"} {
		if _, err := a.Metadata(context.Background(), name, Shared, "/shared/a", 0, 1); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.SetMetadata(context.Background(), name, []Annotation{{Entry: "/shared/a", Value: []byte("x")}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Annotations go where their mailbox goes, and with it.
func TestMetadataOfRenamedAndDeleted(t *testing.T) {
	ctx := context.Background()
	a := openAccount(t, newMaildir(t))
	create(t, a, "a", "a.b")
	for _, name := range []string{"INBOX", "a", "a.b"} {
		annotate(t, a, name, Shared, "/shared/comment="+name)
	}
	for from, to := range map[string]string{"a": "z", "INBOX": "old"} {
		if err := a.Rename(ctx, from, to); err != nil {
			t.Fatal(err)
		}
	}
	create(t, a, "a")
	for name, want := range map[string]string{"z": "a", "z.b": "a.b", "INBOX": "INBOX", "old": "INBOX", "a": ""} {
		if got := strings.Join(annotations(t, a, name, Shared, "/shared/comment", 0, 100), " "); got != "" != (want != "") || want != "" && got != fmt.Sprintf("/shared/comment=%q", want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if err := a.Delete(ctx, "z"); err != nil {
		t.Fatal(err)
	}
	create(t, a, "z")
	if got := annotations(t, a, "z", Shared, "/shared", 9, 100); got != nil {
		t.Errorf("made anew, it has %s", got)
	}
}

// All of a command or nothing of it, and never more than there may be.
func TestMetadataLimits(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	var list []Annotation
	for i := range maxAnnotations {
		list = append(list, Annotation{Scope: Private("bob"), Entry: fmt.Sprint("/private/", i), Value: []byte("x")})
	}
	ctx := context.Background()
	if err := a.SetMetadata(ctx, "INBOX", list); err != nil {
		t.Fatal(err)
	}
	more := []Annotation{{Scope: Shared, Entry: "/shared/a", Value: []byte("x")}, {Scope: Private("bob"), Entry: "/private/x", Value: []byte("x")}}
	if err := a.SetMetadata(ctx, "INBOX", more); !errors.Is(err, ErrAnnotations) {
		t.Errorf("one more: %v", err)
	}
	if got := annotations(t, a, "INBOX", Shared, "/shared", 9, 100); got != nil {
		t.Errorf("of a command that failed there is %s", got)
	}
	// In exchange for another, changed, and by someone else.
	annotate(t, a, "INBOX", Private("bob"), "/private/5=y")
	annotate(t, a, "INBOX", Private("carol"), "/private/x=y")
	if err := a.SetMetadata(ctx, "INBOX", append(more, Annotation{Scope: Private("bob"), Entry: "/private/5"})); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{`/private/x="x"`}, annotations(t, a, "INBOX", Private("bob"), "/private/x", 0, 100)); diff != "" {
		t.Error(diff)
	}
}

package main

import (
	"testing"

	"mailstead/schema"
)

// TestCalledUser: a user is meant as at a login, in whatever capitals.
func TestCalledUser(t *testing.T) {
	host := &schema.Host{}
	for _, name := range []string{"Bob", "alice", "BOB", "bob", "Carol", "CAROL", "Dora", "malice@example.org"} {
		host.Users = append(host.Users, schema.User{Name: name})
	}
	for given, want := range map[string]string{
		"alice": "alice", "Alice": "alice", "BOB": "BOB", "bOb": "bob", "Carol": "Carol", "carol": "carol", "dora": "Dora", "eve": "eve", "": "",
	} {
		if got := calledUser(host, given); got != want {
			t.Errorf("%q is %q, want %q", given, got, want)
		}
	}
	for _, name := range []string{"alcie", "alice@example.org"} {
		if err := unknownUser(host, name); err == nil || len(hints(err)) != 1 || hints(err)[0] != `did you mean "alice"?` {
			t.Errorf("%v %q", err, hints(err))
		}
	}
	host.Directories = []schema.Directory{{}}
	for _, name := range []string{"alcie", "alice", ""} {
		if err := unknownUser(host, name); err != nil {
			t.Errorf("with a directory, %q: %v", name, err)
		}
	}
}

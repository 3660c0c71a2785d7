package session

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mailstead/imapserver/store"
)

func TestCandidates(t *testing.T) {
	tests := []struct{ client, bare, prefixed string }{ // what it means with the prefix "" and with "INBOX."
		{"inbox", "INBOX", "INBOX"},
		{"Sent", "Sent", "Sent"},
		{"Inbox.Sent", "INBOX.Sent Sent", "Sent"},
		{"INBOX.a.b", "INBOX.a.b a.b", "a.b"},
		{"INBOX.INBOX.a", "INBOX.INBOX.a INBOX.a", "INBOX.a"},
		{"INBOX.", "", ""},
		{"INBOX.inbox", "", ""},
		{"INBOXes", "INBOXes", "INBOXes"},
		{"", "", ""},
	}
	for _, tt := range tests {
		if got := strings.Join(namespace("").candidates(tt.client), " "); got != tt.bare {
			t.Errorf("%q without a prefix: got %q, want %q", tt.client, got, tt.bare)
		}
		if got := strings.Join(courierNames.candidates(tt.client), " "); got != tt.prefixed {
			t.Errorf("%q with the prefix: got %q, want %q", tt.client, got, tt.prefixed)
		}
	}
}

const courierNames = namespace(courier)

func TestResolve(t *testing.T) {
	has := func(names ...string) func(string) error {
		return func(name string) error {
			if !slices.Contains(names, name) {
				return store.ErrNotFound
			}
			return errors.New("found " + name)
		}
	}
	tests := []struct {
		client string
		f      func(string) error
		want   string
	}{
		{"INBOX.a", has("a"), "found a"},
		{"INBOX.a", has("a", "INBOX.a"), "found INBOX.a"},
		{"INBOX.INBOX.a", has("a", "INBOX.a"), "found INBOX.a"},
		{"a", has("a", "INBOX.a"), "found a"},
		{"INBOX.b", has("a"), store.ErrNotFound.Error()},
		{"INBOX.", has(""), store.ErrNotFound.Error()},
	}
	for _, tt := range tests {
		if err := namespace("").resolve(tt.client, tt.f); err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.client, err, tt.want)
		}
	}
}

// Every mailbox has a name that leads back to it, with either prefix.
func TestCanonical(t *testing.T) {
	for _, ns := range []namespace{"", courierNames} {
		for _, name := range []string{"INBOX", "Sent", "a.b", "INBOX.x", "INBOX.INBOX.x"} {
			for _, client := range []string{ns.canonical(name), ns.alias(name)} {
				var got string
				ns.resolve(client, func(n string) error {
					got = n
					if n != name {
						return store.ErrNotFound
					}
					return nil
				})
				if got != name {
					t.Errorf("prefix %q: %q is told as %q, which is %q", ns, name, client, got)
				}
			}
		}
	}
}

func TestAsksAlias(t *testing.T) {
	tests := []struct {
		pattern        string
		bare, prefixed bool
	}{
		{"*", false, false},
		{"%", false, false},
		{"INBOX", false, false},
		{"I%", false, false},
		{"INBOX.%", true, false},
		{"inbox.*", true, false},
		{"INBOX.Sent", true, false},
		{"INBOX*", false, false},
		{"Sent", false, true},
		{"S%", false, true},
		{"INBOXes", false, true},
		{"", false, false},
	}
	for _, tt := range tests {
		if got := namespace("").asksAlias(tt.pattern); got != tt.bare {
			t.Errorf("%q without a prefix: got %t", tt.pattern, got)
		}
		if got := courierNames.asksAlias(tt.pattern); got != tt.prefixed {
			t.Errorf("%q with the prefix: got %t", tt.pattern, got)
		}
	}
}

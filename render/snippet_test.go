package render

import (
	"strings"
	"testing"

	"mailstead/schema"
)

// TestHostedDomains: a mail server is told of domains alone, whatever names users have.
func TestHostedDomains(t *testing.T) {
	host := &schema.Host{Name: "mail.example.org", Deliver: &schema.Deliver{Domains: []string{"example.org"}, LMTP: &schema.LMTP{Socket: "/run/mailstead-lmtp"}}}
	for _, name := range []string{"alice", "bob@Example.net", "erna@example.org", "a@b@ex.com", "d@", "c@..", "e@x_y"} {
		host.Users = append(host.Users, schema.User{Name: name, Virtual: &schema.VirtualUser{}})
	}
	for program, want := range map[string]string{"exim": "  domains = example.org : ex.com : example.net\n", "postfix": "virtual_mailbox_domains = ex.com, example.net\n"} {
		text, err := Snippet(program, host)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v\n%s", program, err, text)
		}
	}
	table, err := Deliveries(*host.Deliver, "", "", []User{{Name: "a@b", Identity: Identity{UID: 1000, GID: 1000}, Maildir: "/home/a/Maildir"}}, []User{{Name: "a@b@example.org"}})
	if err != nil || !strings.Contains(string(table), `"whole":["a@b@example.org"]`) {
		t.Errorf("%v\n%s", err, table)
	}
}

package render

import (
	"strings"
	"testing"

	"mailstead/schema"
)

// TestNamesakes: an address that is a whole name is its user's, although another has the
// local part; the table of that one says so, as it does not have the other.
func TestNamesakes(t *testing.T) {
	d := schema.Deliver{Domains: []string{"example.org", "example.net"}}
	system, virtual := []User{{Name: "bob"}, {Name: "Erna"}}, []User{{Name: "bob@example.org"}, {Name: "bob@elsewhere.org"}, {Name: "zoe@example.org"}, {Name: "Erna@example.net"}}
	for i := range system {
		system[i].UID, system[i].GID, system[i].Maildir = 1000, 1000, "/home/x/Maildir"
	}
	_, list, _ := strings.Cut(string(Addresses(d, system, virtual)), "\n")
	want := `bob@elsewhere.org virtual
bob@example.net system
bob@example.org virtual
erna@example.net virtual
erna@example.org system
zoe@example.org virtual
`
	if list != want {
		t.Errorf("addresses:\n%s", list)
	}
	table, err := Deliveries(d, "", "", system, virtual)
	if err != nil || !strings.Contains(string(table), `"whole":["bob@example.org","erna@example.net"]`) {
		t.Errorf("%v\n%s", err, table)
	}
}

// TestNamesakesInCapitals: of two names that differ by capitals alone, the one in small
// letters has the address, whichever table it is in.
func TestNamesakesInCapitals(t *testing.T) {
	d := schema.Deliver{Domains: []string{"example.org"}}
	small, capital := []User{{Name: "alice"}, {Name: "bob@example.org"}}, []User{{Name: "Alice"}, {Name: "Bob@example.org"}}
	for range 50 {
		for word, list := range map[string][]byte{"system": Addresses(d, small, capital), "virtual": Addresses(d, capital, small)} {
			_, have, _ := strings.Cut(string(list), "\n")
			if want := "alice@example.org " + word + "\nbob@example.org " + word + "\n"; have != want {
				t.Fatalf("have:\n%swant:\n%s", have, want)
			}
		}
	}
}

// Whoever has to ask auth for users has a way to make a socket, and nobody else.
func TestLMTPAsks(t *testing.T) {
	for _, account := range []string{"", "vmail"} {
		for _, asks := range []bool{false, true} {
			unit, err := LMTP{Systemd: 252, Paths: places, Host: "mail.example.org", Account: account, Front: Identity{UID: 998, GID: 998}, Asks: asks}.Render()
			if err != nil {
				t.Fatal(err)
			}
			if none := strings.Contains(string(unit), "RestrictAddressFamilies=none\n"); none == asks {
				t.Errorf("account %q, asks is %v:\n%s", account, asks, unit)
			}
		}
	}
}

package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// counting counts the octets that are read.
type counting struct {
	*bytes.Reader
	octets int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.octets += len(p)
	return c.Reader.ReadAt(p, at)
}

// TestRowOfMany: every row is found, and nobody else, by reading as good as nothing of a
// table of many.
func TestRowOfMany(t *testing.T) {
	read := func(names []string) (*Deliveries, *counting) {
		var rows []Delivery
		for i, name := range names {
			rows = append(rows, Delivery{Name: name, UID: 1000 + i, GID: 1000, Maildir: "/m" + strings.Repeat("/x", i%5*450*max(0, 1-len(names)/100))})
		}
		var b bytes.Buffer
		if err := EncodeDeliveries(&b, DeliveryHead{Domains: []string{"example.org"}}, rows); err != nil {
			t.Fatal(err)
		}
		c := &counting{Reader: bytes.NewReader(b.Bytes())}
		table, err := ReadDeliveries(c, c.Size())
		if err != nil {
			t.Fatal(err)
		}
		return table, c
	}
	few := []string{"b", "a", "zoe", "Zoe", "<é>&\"", "z", "a@b", "a.b", "a b", "ä", "aa", "\u2028", "10", "9"}
	for n := range len(few) + 1 {
		table, _ := read(few[:n])
		for i, name := range few {
			r, ok, err := table.Row(name)
			if err != nil || ok != (i < n) || ok && (r.Name != name || r.UID != 1000+i) {
				t.Errorf("of %d rows, %q: %+v %v %v", n, name, r, ok, err)
			}
		}
		for _, nobody := range []string{"", "c", "\n", "a\"", "zzz", "\xff", "ZOE"} {
			if _, ok, err := table.Row(nobody); ok || err != nil {
				t.Errorf("of %d rows, %q: %v %v", n, nobody, ok, err)
			}
		}
	}
	var many []string
	for n := range 50_000 {
		many = append(many, fmt.Sprintf("user%d@example.org", n))
	}
	table, c := read(many)
	c.octets = 0
	const looked = 1000
	for n := range looked {
		if r, ok, err := table.Row(many[n*7]); !ok || err != nil || r.UID != 1000+n*7 {
			t.Fatalf("%q: %+v %v %v", many[n*7], r, ok, err)
		}
	}
	if each := c.octets / looked; each > 32<<10 {
		t.Errorf("%d octets read for a row of %d octets", each, c.Size())
	}
}

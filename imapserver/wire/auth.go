package wire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// parseLogin reads LOGIN. User and password are octets: the login side knows
// what may be in them.
func parseLogin(d *decoder) Command {
	d.expectSP()
	user := d.expectAString("user name")
	d.expectSP()
	return &Login{User: user, Password: d.expectAString("password")}
}

// parseAuthenticate reads AUTHENTICATE (RFC 9051 §6.2.2, RFC 4959).
func parseAuthenticate(d *decoder) Command {
	d.expectSP()
	a := &Authenticate{Mechanism: d.expectWord("mechanism")}
	if d.take(' ') {
		d.use(imap.CapSASLIR)
		a.Initial = d.expectBase64()
	}
	return a
}

// parseID reads ID (RFC 2971).
func parseID(d *decoder) Command {
	d.expectSP()
	c := &ID{}
	if next, _ := d.peek(); next != '(' {
		if d.takeWord() != "NIL" {
			d.fail("list or NIL expected")
		}
		return c
	}
	d.list(func() {
		key := d.expectString("field")
		d.expectSP()
		value, _ := d.expectNString("value")
		c.Params = append(c.Params, IDParam{key, value})
	})
	return c
}

// parseEnable reads ENABLE (RFC 5161).
func parseEnable(d *decoder) Command {
	c := &Enable{}
	for {
		d.expectSP()
		c.Caps = append(c.Caps, imap.Cap(strings.ToUpper(d.expectAtom("capability"))))
		if next, ok := d.peek(); !ok || next != ' ' {
			return c
		}
	}
}

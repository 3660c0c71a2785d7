package siege_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"mailstead/imapserver/wire"
)

// sizes are numbers around each power of two up to 2^64, and some that no
// integer holds.
func sizes() []string {
	var list []string
	for bit := range uint(65) {
		for _, d := range []int64{-1, 0, 1} {
			if n := new(big.Int).Lsh(big.NewInt(1), bit); n.Sign() > 0 {
				list = append(list, n.Add(n, big.NewInt(d)).String())
			}
		}
	}
	return append(list, strings.Repeat("9", 40), "00000000000000000000001", "-1", "+1", " 1", "0x10", "1e9", "")
}

// positions are where a literal may stand before login, and places where none may.
var positions = []string{
	"a LOGIN %s", "a LOGIN alice %s", "a LOGIN x y %s", "a ID (%s", `a ID ("name" %s`, `a ID ("name" "x" %s`,
	"a AUTHENTICATE %s", "a AUTHENTICATE PLAIN %s", "a %s", "%s", "a CAPABILITY %s", "a STARTTLS %s", "a NOOP %s", "a NONSENSE %s",
}

// TestLiteralsBeforeLogin announces a literal of every size at every place (T02).
// One that does not fit is refused before the client is asked to send it, and
// nothing is made ready for it.
func TestLiteralsBeforeLogin(t *testing.T) {
	d := start(t, open())
	before := d.status("VmHWM")
	tried := 0
	for _, position := range positions {
		for _, size := range sizes() {
			for _, form := range []string{"{%s}", "{%s+}", "~{%s}", "{%s-}"} {
				c := d.dial(t, "plain")
				c.send(fmt.Sprintf(position, fmt.Sprintf(form, size)) + "\r\n\r\nz LOGOUT\r\n")
				c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				said, err := c.rest()
				tried++
				n, fits := new(big.Int).SetString(size, 10)
				if fits = fits && n.Cmp(big.NewInt(wire.PreAuth.Literal)) < 0; err != nil || !fits && strings.HasPrefix(said, "+ ") || len(said) > 400 {
					t.Errorf("%s of %s at %q: %v, %.300q", form, size, position, err, said)
				}
				c.Close()
			}
		}
	}
	if grown := d.status("VmHWM") - before; grown > 16<<10 {
		t.Errorf("%d kB more after %d literals of up to 2^64 octets", grown, tried)
	}
}

// TestLiteralsAfterLogin announces what no command takes to each of them: it is
// refused before the client is asked to send it.
func TestLiteralsAfterLogin(t *testing.T) {
	d := start(t, open())
	d.login(t)
	before := d.status("VmHWM")
	for _, row := range wire.Commands {
		for i, size := range sizes() {
			if n, ok := new(big.Int).SetString(size, 10); !ok || n.Cmp(big.NewInt(wire.PostAuth.Message)) <= 0 || !whole && i%32 != 0 {
				continue
			}
			c := d.login(t)
			c.send(fmt.Sprintf("a %s {%s}\r\nb %[1]s INBOX {%[2]s}\r\nc %[1]s INBOX (x {%[2]s+}\r\nz LOGOUT\r\n", row.Name, size))
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			if said, err := c.rest(); err != nil || strings.HasPrefix(said, "+ ") || strings.Contains(said, "\n+ ") && row.Name != "IDLE" {
				t.Errorf("%s with %s octets: %v, %.300q", row.Name, size, err, said)
			}
			c.Close()
		}
	}
	if grown := d.status("VmHWM") - before; grown > 16<<10 {
		t.Errorf("%d kB more", grown)
	}
}

// TestManyLiterals sends 3000 literals of 100 octets to each command, before login
// and after (T03): the command is refused, and the session goes on or ends.
func TestManyLiterals(t *testing.T) {
	d := start(t, open())
	d.login(t)
	many := strings.Repeat(" {100+}\r\n"+strings.Repeat("x", 100), 3000) + "\r\n"
	listed := " (" + strings.TrimSpace(many[:len(many)-2]) + ")\r\n"
	before := d.status("VmHWM")
	for _, row := range wire.Commands {
		for _, arguments := range []string{many, listed} {
			for _, c := range []*client{d.dial(t, "plain"), d.login(t)} {
				c.Write([]byte("a " + row.Name + arguments)) // or it closes before the end
				c.Write([]byte("z LOGOUT\r\n"))
				said, err := c.rest()
				if strings.Contains(said, "a OK") || err != nil || len(said) > 2000 {
					t.Errorf("%s: %v, %.300q", row.Name, err, said)
				}
				c.Close()
			}
		}
	}
	// It was 3.5 to 4 MiB, for all connections together.
	if grown := d.status("VmHWM") - before; grown > 8<<10 {
		t.Errorf("%d kB more after all commands", grown)
	} else {
		t.Logf("%d kB more after all commands", grown)
	}
}

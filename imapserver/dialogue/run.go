package dialogue

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Run runs a script with an account that nobody has used.
func Run(t testing.TB, s *Script, a *Account) {
	t.Helper()
	r := newRunner(s, a)
	if err := r.run(); err != nil {
		t.Fatalf("on %s: %v\n%s", a.Server, err, r.log)
	}
}

type runner struct {
	script  *Script
	account *Account
	steps   []Step
	conns   map[int]*conn
	users   map[int]*Account // who logs in, where that is not the account's user
	raw     map[int]bool     // connections that are not logged out at the end
	matcher
	log *transcript
}

func newRunner(s *Script, a *Account) *runner {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	r := &runner{script: s, account: a, conns: map[int]*conn{}, users: map[int]*Account{}, raw: map[int]bool{}, log: new(transcript)}
	r.vars = map[string]string{
		"user":       a.User,
		"password":   a.Password,
		"user64":     encode(a.User),
		"password64": encode(a.Password),
		"plain":      encode("\x00" + a.User + "\x00" + a.Password),
	}
	for name, other := range a.Others {
		r.vars[name] = other.User
	}
	for name, text := range s.messages {
		r.vars[name+"_size"] = strconv.Itoa(len(text))
	}
	for _, step := range s.Steps {
		if step.Server == "" || step.Server == a.Server {
			r.steps = append(r.steps, step)
		}
	}
	return r
}

// run does every step, and then looks whether all has been read.
func (r *runner) run() error {
	defer func() {
		for _, c := range r.conns {
			c.nc.Close()
		}
	}()
	for i := 0; i < len(r.steps); {
		n, err := r.step(i)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", r.script.Name, r.steps[i].Line, err)
		}
		i += n
	}
	for _, number := range slices.Sorted(maps.Keys(r.conns)) {
		if err := r.logout(r.conns[number]); err != nil {
			return fmt.Errorf("%s: at the end of connection %d: %w", r.script.Name, number, err)
		}
	}
	return nil
}

// step does a step, or a block of them, and says how many they were.
func (r *runner) step(i int) (n int, err error) {
	step := r.steps[i]
	switch step.Verb {
	case "connect":
		listener := "plain"
		if len(step.Args) > 1 {
			listener = step.Args[1]
		}
		r.raw[step.Conn] = true
		_, err = r.dial(step.Conn, listener)
		return 1, err
	case "C", "S", "U", "N", "R", "starttls", "deflate", "eof", "close":
		c, err := r.conn(step.Conn)
		if err != nil {
			return 1, err
		}
		return r.say(c, i)
	case "as":
		r.users[step.Conn] = r.account.Others[step.Args[1]]
		return 1, nil
	case "differ":
		if a, b := step.Args[0], step.Args[1]; r.vars[a] == r.vars[b] {
			return 1, fmt.Errorf("both $%s and $%s are %q", a, b, r.vars[a])
		}
		return 1, nil
	}
	return 1, r.account.act(r.script, step)
}

// say does a step on a connection.
func (r *runner) say(c *conn, i int) (n int, err error) {
	step := r.steps[i]
	switch step.Verb {
	case "C":
		return 1, r.sendLine(c, step.Text)
	case "R":
		octets, err := rawOctets(step.Text)
		if err != nil {
			return 1, err
		}
		return 1, c.send(octets)
	case "S":
		return 1, r.expect(c, step)
	case "starttls":
		return 1, c.startTLS(r.tlsConfig())
	case "deflate":
		return 1, c.deflate()
	case "eof":
		r.raw[step.Conn] = true
		return 1, c.expectEOF()
	case "close":
		delete(r.conns, step.Conn)
		return 1, c.nc.Close()
	}
	return r.block(c, i)
}

func (r *runner) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: r.account.Roots, ServerName: "localhost"}
}

// conn gives a connection; one that is named for the first time is made and
// logged in.
func (r *runner) conn(number int) (*conn, error) {
	if c := r.conns[number]; c != nil {
		return c, nil
	}
	c, err := r.dial(number, "plain")
	if err != nil {
		return nil, err
	}
	greeting, err := c.receive()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(greeting, "* OK ") {
		return nil, fmt.Errorf("greeted with %q", greeting)
	}
	user := r.account
	if other := r.users[number]; other != nil {
		user = other
	}
	if err := c.send(fmt.Sprintf("login LOGIN %s %s\r\n", user.User, user.Password)); err != nil {
		return nil, err
	}
	return c, r.untilTagged(c, "login", nil)
}

func (r *runner) dial(number int, listener string) (*conn, error) {
	nc, err := r.account.Dial(listener)
	if err != nil {
		return nil, err
	}
	c := newConn(nc, strconv.Itoa(number), r.log)
	r.conns[number] = c
	if listener == "tls" {
		return c, c.startTLS(r.tlsConfig())
	}
	return c, nil
}

// untilTagged reads up to the tagged OK. Untagged responses that allowed does
// not let pass are an error.
func (r *runner) untilTagged(c *conn, tag string, allowed func(line string) bool) error {
	for {
		line, err := c.receive()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, tag+" OK"):
			return nil
		case !strings.HasPrefix(line, "* ") || allowed != nil && !allowed(line):
			return fmt.Errorf("have %q, want %s OK", line, tag)
		}
	}
}

// logout ends a connection: nothing may have been left unread on it.
func (r *runner) logout(c *conn) error {
	number, _ := strconv.Atoi(c.name)
	if r.raw[number] {
		return nil
	}
	if err := c.send("logout LOGOUT\r\n"); err != nil {
		return err
	}
	return r.untilTagged(c, "logout", func(line string) bool { return strings.HasPrefix(line, "* BYE ") })
}

// sendLine sends a client's line, and waits where a literal asks for it.
func (r *runner) sendLine(c *conn, text string) error {
	pieces, err := r.script.pieces(text, func(name string) (string, bool) {
		value, ok := r.vars[name]
		return value, ok
	})
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if err := c.send(p.octets); err != nil {
			return err
		}
		if !p.wait {
			continue
		}
		line, err := c.receive()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, "+") {
			return fmt.Errorf("have %q, want + before the literal", line)
		}
	}
	return nil
}

// next reads a response and takes it apart.
func (r *runner) next(c *conn) (string, []node, error) {
	line, err := c.receive()
	if err != nil {
		return "", nil, err
	}
	response, err := parseResponse(line, nil)
	return line, response, err
}

func (r *runner) pattern(step Step) []node {
	p, err := parseResponse(step.Text, r.script.messages)
	if err != nil {
		panic(err) // Parse has read it
	}
	return p
}

func (r *runner) expect(c *conn, step Step) error {
	line, response, err := r.next(c)
	if err != nil {
		return fmt.Errorf("want %q: %w", step.Text, err)
	}
	if !r.match(r.pattern(step), response) {
		return fmt.Errorf("have %q\nwant %q", line, step.Text)
	}
	return nil
}

// block reads the responses of U and N lines, and of the S line after them. It
// gives the number of those lines.
func (r *runner) block(c *conn, i int) (n int, err error) {
	b := responseBlock{runner: r}
	first := r.steps[i].Conn
	for i < len(r.steps) && r.steps[i].Conn == first && strings.Contains("UN", r.steps[i].Verb) {
		b.add(r.steps[i])
		i++
		n++
	}
	if i < len(r.steps) && r.steps[i].Verb == "S" && r.steps[i].Conn == first {
		b.last = r.pattern(r.steps[i])
		n++
	}
	for {
		line, response, err := r.next(c)
		if err != nil {
			return n, fmt.Errorf("want %s: %w", b.wanted(), err)
		}
		done, err := b.take(response)
		if err != nil {
			return n, fmt.Errorf("have %q: %w", line, err)
		}
		if done {
			return n, nil
		}
	}
}

// responseBlock is what is still to come of a block.
type responseBlock struct {
	*runner
	want   []Step
	never  []Step
	others bool // untagged responses that nothing names may come
	last   []node
}

func (b *responseBlock) add(step Step) {
	switch {
	case step.Verb == "N":
		b.never = append(b.never, step)
	case step.Text == "...":
		b.others = true
	default:
		b.want = append(b.want, step)
	}
}

func (b *responseBlock) wanted() string {
	var list []string
	for _, step := range b.want {
		list = append(list, strconv.Quote(step.Text))
	}
	if b.last != nil {
		list = append(list, "the response after the block")
	}
	return strings.Join(list, ", ")
}

// take takes a response, and says whether it was the last.
func (b *responseBlock) take(response []node) (done bool, err error) {
	for _, step := range b.never {
		if b.match(b.pattern(step), response) {
			return false, fmt.Errorf("which line %d rules out", step.Line)
		}
	}
	for i, step := range b.want {
		if b.match(b.pattern(step), response) {
			b.want = slices.Delete(b.want, i, i+1)
			return len(b.want) == 0 && b.last == nil, nil
		}
	}
	if len(b.want) == 0 && b.last != nil && b.match(b.last, response) {
		return true, nil
	}
	if !b.others || response[0].text != "*" {
		return false, fmt.Errorf("want %s", b.wanted())
	}
	return false, nil
}

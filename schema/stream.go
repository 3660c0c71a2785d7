package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	cuejson "cuelang.org/go/encoding/json"
)

// Users in JSON files are checked one by one where nothing in the rest of the
// description could make a difference to them. All of them in one CUE value take
// more than 100 MiB for ten thousand, where each by itself leaves nothing behind.

// streamFrom is how many users a JSON file has at least for that. Few are
// evaluated with everything else, which is the same but for the memory.
const streamFrom = 200

// streamed is a user of a JSON file, who is parsed when their turn comes.
type streamed struct {
	host, name string
	file       *streamFile
	start, end int // of the name and the value in the text
	at         Pos // of the name
}

// streamFile is a JSON file that users are read from.
type streamFile struct {
	shown string
	text  []byte
}

// stream takes the users out of a JSON file, and gives the text without them;
// positions in it stay what they were. A text about which anything is unusual is
// given back as it is, for CUE to say what is wrong.
func (l *loader) stream(shown string, text []byte) []byte {
	if l.whole || !utf8.Valid(text) || bytes.Contains(bytes.ToLower(text), []byte(`\ud`)) {
		return text
	}
	s := scanner{text: text, file: &streamFile{shown, text}, line: 1}
	if s.dec = json.NewDecoder(bytes.NewReader(text)); !s.scan() || len(s.users) < l.from() {
		return text
	}
	l.streams = append(l.streams, s.users...)
	return s.rest()
}

func (l *loader) from() int {
	if l.opts.streamFrom > 0 {
		return l.opts.streamFrom
	}
	return streamFrom
}

// scanner finds the users in the text of a JSON file.
type scanner struct {
	text  []byte
	dec   *json.Decoder
	file  *streamFile
	users []streamed
	spans [][2]int // the insides of the objects that hold them
	line  int      // at the offset counted
	count int      // up to here the lines were counted
	begin int      // of the line
}

func (s *scanner) scan() bool {
	ok := s.object(func(key string, _ int) bool {
		if key != "hosts" {
			return s.skip()
		}
		return s.object(func(host string, _ int) bool {
			return s.object(func(key string, _ int) bool {
				if key != "users" {
					return s.skip()
				}
				return s.hostUsers(host)
			})
		})
	})
	_, err := s.dec.Token()
	return ok && err == io.EOF
}

// object reads an object, and has each value read behind its name, which begins
// at start.
func (s *scanner) object(value func(key string, start int) bool) bool {
	if t, err := s.dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for s.dec.More() {
		from := int(s.dec.InputOffset())
		t, err := s.dec.Token()
		key, ok := t.(string)
		if start := from + bytes.IndexByte(s.text[from:], '"'); err != nil || !ok || !value(key, start) {
			return false
		}
	}
	_, err := s.dec.Token()
	return err == nil
}

func (s *scanner) skip() bool {
	var raw json.RawMessage
	return s.dec.Decode(&raw) == nil
}

func (s *scanner) hostUsers(host string) bool {
	from := 0
	ok := s.object(func(name string, start int) bool {
		if from == 0 {
			from = start
		}
		at := s.pos(start)
		ok := s.skip()
		s.users = append(s.users, streamed{host, name, s.file, start, int(s.dec.InputOffset()), at})
		return ok
	})
	if ok && from > 0 {
		s.spans = append(s.spans, [2]int{from, int(s.dec.InputOffset()) - 1})
	}
	return ok
}

// pos gives the position of an offset, which only ever grows.
func (s *scanner) pos(offset int) Pos {
	for i := s.count; i < offset; i++ {
		if s.text[i] == '\n' {
			s.line++
			s.begin = i + 1
		}
	}
	s.count = offset
	return Pos{File: s.file.shown, Line: s.line, Col: offset - s.begin + 1}
}

// rest is the text with blanks in the place of the users.
func (s *scanner) rest() []byte {
	rest := bytes.Clone(s.text)
	for _, span := range s.spans {
		for i := span[0]; i < span[1]; i++ {
			if rest[i] != '\n' {
				rest[i] = ' '
			}
		}
	}
	return rest
}

// separable tells whether the users who were taken out can be checked by
// themselves: none is there twice, and the CUE files can neither add to them nor look at them.
func (l *loader) separable(insts []*build.Instance) bool {
	slices.SortStableFunc(l.streams, func(a, b streamed) int {
		if c := strings.Compare(a.host, b.host); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	names := map[string]bool{"hosts": true, "users": true}
	for i, s := range l.streams {
		names[s.host] = true
		if i > 0 && l.streams[i-1].host == s.host && l.streams[i-1].name == s.name {
			return false
		}
	}
	seen := map[*build.Instance]bool{}
	var apart func(inst *build.Instance) bool
	apart = func(inst *build.Instance) bool {
		if seen[inst] {
			return true
		}
		seen[inst] = true
		for _, f := range inst.Files {
			if path.Ext(f.Filename) == ".cue" && mentions(f, names) {
				return false
			}
		}
		return !slices.ContainsFunc(inst.Imports, func(i *build.Instance) bool { return !apart(i) })
	}
	return !slices.ContainsFunc(insts, func(i *build.Instance) bool { return !apart(i) })
}

// mentions tells whether a file may say something of users: whether it names
// them, or has a way to name something around them.
func mentions(f *ast.File, names map[string]bool) bool {
	found := false
	label := map[ast.Node]bool{}
	ast.Walk(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Alias:
			found = true
		case *ast.Field:
			name, _ := fieldName(n.Label)
			found = found || name == "users"
			label[n.Label] = true
		case *ast.Ident:
			found = found || !label[n] && names[n.Name]
		case *ast.BasicLit:
			found = found || !label[n] && names[strings.Trim(n.Value, `"#`)]
		}
		return !found
	}, nil)
	return found
}

// free tells whether nothing is said of the users of the hosts that have some
// taken out: neither users, nor what all of them must be.
func (l *loader) free(v cue.Value) bool {
	last := ""
	for _, s := range l.streams {
		if s.host == last {
			continue
		}
		last = s.host
		users := v.LookupPath(cue.MakePath(cue.Str("hosts"), cue.Str(s.host), cue.Str("users")))
		it, err := users.Fields(cue.All(), cue.Patterns(true))
		if err != nil || it.Next() || !users.Allows(cue.AnyString) {
			return false
		}
	}
	return true
}

// readWhole reads the files again, for a description whose users cannot be
// checked one by one.
func (l *loader) readWhole() []*build.Instance {
	l.whole, l.streams = true, nil
	l.places, l.faults, l.faulty = &place{}, nil, map[string]bool{}
	return l.readAll()
}

// each gives the spots of a host's users, of whom some are parsed as they are
// asked for.
func (c *completer) each() iter.Seq[spot] {
	return func(yield func(spot) bool) {
		for _, s := range c.spot.at("users").fields() {
			if !yield(s) {
				return
			}
		}
		for _, u := range c.streamsOf() {
			s := c.open(u, true)
			more := yield(s)
			delete(c.usersPlace().parts, u.name)
			if !more {
				return
			}
		}
	}
}

// streamsOf gives the streamed users of the host; they are sorted.
func (c *completer) streamsOf() []streamed {
	at := func(host string) int {
		n, _ := slices.BinarySearchFunc(c.streams, host, func(s streamed, host string) int { return strings.Compare(s.host, host) })
		return n
	}
	return c.streams[at(c.host.Name):at(c.host.Name+"\x00")]
}

// user gives the spot of a user by name.
func (c *completer) user(name string) spot {
	list := c.streamsOf()
	n, ok := slices.BinarySearchFunc(list, name, func(s streamed, name string) int { return strings.Compare(s.name, name) })
	if !ok {
		return c.spot.at("users", name)
	}
	return c.open(list[n], false)
}

// userChoices proposes users in place of a wrong name.
func (c *completer) userChoices(name string) string {
	var names []string
	for _, s := range c.spot.at("users").fields() {
		names = append(names, s.name())
	}
	for _, u := range c.streamsOf() {
		names = append(names, u.name)
	}
	return choose(name, names)
}

// open parses a streamed user, has the places of the fields noted, and, where
// that is asked for, the user checked.
func (c *completer) open(u streamed, check bool) spot {
	s := spot{loader: c.loader, path: append(slices.Clip(c.spot.path), "users", u.name)}
	text := slices.Concat([]byte("{"), u.file.text[u.start:u.end], []byte("}"))
	x, err := cuejson.Extract(u.chunkName(), text)
	object, ok := x.(*ast.StructLit)
	if err != nil || !ok {
		c.cueErrors(err)
		return s
	}
	if check {
		c.duplicateNames(object.Elts)
	}
	c.usersPlace().note(object.Elts)
	c.noteInbox(object)
	// CUE's own messages, and what is a secret in them, go by the whole path.
	for _, name := range []string{"users", u.host, "hosts"} {
		object = ast.NewStruct(&ast.Field{Label: ast.NewString(name), Value: object})
	}
	s.value = c.schema.ctx.BuildExpr(object).LookupPath(selectors(s.path))
	if check {
		rule := c.rule.fields["users"]
		c.strictName(rule, u.name, s.value, s.path)
		c.strict(rule.pattern, s.value, s.path)
	}
	return s
}

// usersPlace is where the users of the host are declared.
func (c *completer) usersPlace() *place {
	return c.places.part("hosts").part(c.host.Name).part("users")
}

// chunkMark begins the name of the file that a streamed user is parsed as, which
// says where it stands in the operator's.
const chunkMark = "\x00user/"

func (u streamed) chunkName() string {
	return fmt.Sprintf("%s%d/%d/%s", chunkMark, u.at.Line, u.at.Col, u.file.shown)
}

// unchunk gives the position in the operator's file.
func unchunk(p Pos) Pos {
	name, ok := strings.CutPrefix(p.File, chunkMark)
	if !ok {
		return p
	}
	part := strings.SplitN(name, "/", 3)
	line, _ := strconv.Atoi(part[0])
	col, _ := strconv.Atoi(part[1])
	if p.Line == 1 {
		p.Col += col - 2 // a brace stands before the name
	}
	return Pos{File: part[2], Line: line + p.Line - 1, Col: p.Col}
}

package schema

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// completer makes the Config of one host out of the parts that strict found no
// fault in. A part is unified with the schema and the defaults by itself, so
// that a fault in one leaves the others to be checked.
type completer struct {
	*loader
	rule     *rule
	defaults cue.Value
	value    cue.Value
	path     []string // of the host
	host     *Host
}

// complete fills in the defaults, and checks what no single value shows.
func (l *loader) complete(v cue.Value) *Config {
	config := &Config{}
	defaults := l.schema.defaults.LookupPath(cue.MakePath(cue.Str("hosts"), cue.AnyString))
	for _, h := range fieldsOf(v.LookupPath(cue.MakePath(cue.Str("hosts")))) {
		c := completer{
			loader: l, rule: l.schema.top.fields["hosts"].pattern, defaults: defaults, value: h.value,
			path: []string{"hosts", h.name}, host: &Host{Name: h.name},
		}
		c.host.Origin = l.places.namePos(c.path, h.value)
		c.complete()
		config.Hosts = append(config.Hosts, c.host)
	}
	if len(config.Hosts) == 0 && len(l.faults) == 0 {
		l.fault(CodeMissing, []string{"hosts"}, l.places.namePos([]string{"hosts"}, v), "names no host",
			"begin with hosts: \"mail.example.org\": {...}; \"mailstead init\" writes a description to start from")
	}
	return config
}

func (c *completer) complete() {
	h := c.host
	c.part("namespace", &h.Namespace)
	c.part("mail", &h.Mail)
	c.part("paths", &h.Paths)
	c.listeners()
	c.tls()
	c.folders()
	c.users()
	c.checkListeners()
	c.checkCertificates()
	c.checkUsers()
}

// field is a field of a struct that exists.
type field struct {
	name  string
	value cue.Value
}

// fieldsOf gives the fields of a struct, sorted by name; none of what is no struct.
func fieldsOf(v cue.Value) []field {
	v, _ = v.Default()
	it, err := v.Fields()
	if err != nil {
		return nil
	}
	var list []field
	for it.Next() {
		list = append(list, field{it.Selector().Unquoted(), it.Value()})
	}
	slices.SortFunc(list, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return list
}

// ok tells that strict found no fault at a path below the host.
func (c *completer) ok(path ...string) bool { return !c.faulty[pathKey(c.at(path...))] }

// at gives the whole path of a place in the host.
func (c *completer) at(path ...string) []string { return append(slices.Clip(c.path), path...) }

// get gives the operator's value of a place in the host.
func (c *completer) get(path ...string) cue.Value { return c.value.LookupPath(selectors(path)) }

func selectors(path []string) cue.Path {
	sels := make([]cue.Selector, len(path))
	for i, name := range path {
		sels[i] = cue.Str(name)
	}
	return cue.MakePath(sels...)
}

// pos is where a place in the host is named; valuePos, where its value stands.
func (c *completer) pos(path ...string) Pos {
	return c.places.namePos(c.at(path...), c.get(path...))
}

func (c *completer) valuePos(path ...string) Pos {
	return c.places.valuePos(c.at(path...), c.get(path...))
}

// found records a fault at a place in the host.
func (c *completer) found(code string, pos Pos, path []string, message, hint string) {
	c.fault(code, c.at(path...), pos, message, hint)
}

// part completes one field of the host into dst.
func (c *completer) part(name string, dst any) bool {
	if !c.ok(name) {
		return false
	}
	v := c.rule.fields[name].value.Unify(c.defaults.LookupPath(selectors([]string{name})))
	if u := c.get(name); u.Exists() {
		v = v.Unify(u)
	}
	return c.decode(v, dst, name)
}

// member completes one member of a map at a path of the host.
func (c *completer) member(f field, dst any, path ...string) bool {
	name := cue.MakePath(cue.Str(f.name))
	one := c.schema.ctx.CompileString("{}").FillPath(name, f.value)
	v := c.rule.at(path).value.Unify(c.defaults.LookupPath(selectors(path))).Unify(one)
	return c.decode(v.LookupPath(name), dst, append(path, f.name)...)
}

// decode takes over a completed value. That it fails would mean that strict
// let something pass; CUE has the last word.
func (c *completer) decode(v cue.Value, dst any, path ...string) bool {
	err := v.Validate(cue.Concrete(true))
	if err == nil {
		err = v.Decode(dst)
	}
	if err == nil {
		return true
	}
	why := ""
	if !c.secretBelow(path) {
		why = ": " + plain(cut(err.Error(), maxMessage))
	}
	c.found(CodeCUE, c.pos(path...), path, "cannot be completed"+why, "")
	return false
}

// secretBelow tells whether a value may hold a secret, which CUE's words would show.
func (c *completer) secretBelow(path []string) bool {
	r := c.rule.at(path)
	return r.secret || r.fields["password"] != nil
}

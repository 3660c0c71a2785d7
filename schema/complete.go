package schema

import (
	"strings"

	"cuelang.org/go/cue"
)

// completer makes the Config of one host out of the parts that strict found no
// fault in. A part is unified with the schema and the defaults by itself, so
// that a fault in one leaves the others to be checked.
type completer struct {
	*loader
	spot     spot
	rule     *rule     // of a host
	defaults cue.Value // of a host
	host     *Host
}

// complete fills in the defaults, and checks what no single value shows.
func (l *loader) complete(v cue.Value) *Config {
	config := &Config{}
	defaults := l.schema.defaults.LookupPath(cue.MakePath(cue.Str("hosts"), cue.AnyString))
	hosts := spot{l, []string{"hosts"}, v.LookupPath(cue.MakePath(cue.Str("hosts"))), false}
	for _, s := range hosts.fields() {
		c := completer{l, s, l.schema.top.fields["hosts"].pattern, defaults, &Host{Name: s.name(), Origin: s.pos()}}
		c.complete()
		config.Hosts = append(config.Hosts, c.host)
	}
	l.routes(config, hosts)
	if len(config.Hosts) == 0 && len(l.faults) == 0 {
		hosts.fault(CodeMissing, "names no host", "begin with hosts: \"mail.example.org\": {...}; \"mailstead init\" writes a description to start from")
	}
	return config
}

func (c *completer) complete() {
	h := c.host
	h.Origins = map[string]Pos{}
	c.origins(c.spot)
	c.part(&h.Namespace, "namespace")
	c.part(&h.Expunge, "expunge")
	h.Keep = c.spot.at("keep").days()
	durability, _ := c.spot.at("durability").str()
	h.Relaxed = durability == "relaxed"
	c.part(&h.Sharing, "sharing")
	c.part(&h.About, "about")
	c.limits()
	c.fail2ban()
	c.pam()
	c.part(&h.Mail, "mail")
	if c.part(&h.Paths, "paths") && !c.spot.at("paths", "bin").exists() {
		h.Paths.Bin = programs
	}
	c.listeners()
	c.tls()
	c.outbox()
	c.deliver()
	all := c.withOutbox(c.folderList(c.spot.at("folders"), folders{}))
	h.Folders, h.PurgeInbox = all.list, all.purgeInbox
	h.Quota = quota(c.spot.at("quota"), nil)
	c.logins()
	c.users()
	c.directories()
	c.checkListeners()
	c.checkCertificates()
	c.checkUsers()
	c.probe()
	c.profiles()
	c.web()
	c.metrics()
	c.checkSockets()
	c.checkListenerNames()
	c.checkPaths()
}

// origins notes where fields are written. Of users there may be tens of
// thousands.
func (c *completer) origins(s spot) {
	for _, f := range s.fields() {
		path := strings.Join(f.path[len(c.spot.path):], "/")
		c.host.Origins[path] = f.pos()
		if path != "users" && path != "folders" && path != "policies" {
			c.origins(f)
		}
	}
}

// pam says how system users log in.
func (c *completer) pam() {
	p, s := &c.host.PAM, c.spot.at("pam")
	if !c.part(p, "pam") {
		return
	}
	checkNets(s.at("servers"))
	if len(p.Servers) > 0 && p.Network != nil && !*p.Network {
		s.at("network").faultOfValue(CodeValue, "is false, and servers names whom modules may ask", "leave one of them out")
	}
}

// part completes one field of the host into dst.
func (c *completer) part(dst any, name string) bool {
	s := c.spot.at(name)
	if !s.ok() {
		return false
	}
	v := c.rule.fields[name].value.Unify(c.defaults.LookupPath(selectors([]string{name})))
	if s.exists() {
		v = v.Unify(c.data(s))
	}
	return c.decode(v, dst, s)
}

// member completes one member of a map into dst; path is that of the map in the host.
func (c *completer) member(s spot, dst any, path ...string) bool {
	name := cue.MakePath(cue.Str(s.name()))
	one := c.schema.ctx.CompileString("{}").FillPath(name, c.data(s))
	v := c.rule.at(path).value.Unify(c.defaults.LookupPath(selectors(path))).Unify(one)
	return c.decode(v.LookupPath(name), dst, s)
}

// data gives the operator's value without what it was made of. A default of the
// operator's own has been chosen by then: CUE would set it against the schema's
// and find neither.
func (c *completer) data(s spot) cue.Value {
	b, err := s.value.MarshalJSON()
	if err != nil {
		return s.value // decode says why
	}
	return c.schema.ctx.CompileBytes(b)
}

// decode takes over a completed value. That it fails would mean that strict
// let something pass; CUE has the last word.
func (c *completer) decode(v cue.Value, dst any, s spot) bool {
	err := v.Validate(cue.Concrete(true))
	if err == nil {
		err = v.Decode(dst)
	}
	if err != nil {
		s.fault(CodeCUE, "cannot be completed: "+plain(cut(err.Error(), maxMessage)), "")
	}
	return err == nil
}

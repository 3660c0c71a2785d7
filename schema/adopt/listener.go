package adopt

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// listeners are what Courier and imapproxy listened on.
func (r *reading) listeners() {
	if r.units["courier-imap.service"] {
		r.ports("imap", "PORT", "143", "ADDRESS")
	}
	if r.units["courier-imap-ssl.service"] && r.imap["SSLPORT"].Origin.File != "" {
		r.ports("imaps", "SSLPORT", "993", "SSLADDRESS")
	}
	if r.proxy != nil && r.units["imapproxy.service"] {
		r.imapproxy()
	}
}

// ports makes a listener of each port of a list, in which each may have an address:
// "143,192.0.2.1.1143" (couriertcpd(1)).
func (r *reading) ports(name, portOption, implied, addressOption string) {
	ports, address := r.imap[portOption], r.imap[addressOption]
	list := ports.Value
	if list == "" {
		list = implied
	}
	for i, one := range strings.Split(list, ",") {
		one = strings.TrimSpace(one)
		l := Listener{Name: name, Address: everyAddress(address.Value)}
		if i > 0 {
			l.Name = name + "-" + strconv.Itoa(i+1)
		}
		if at := strings.LastIndexByte(one, '.'); at >= 0 {
			l.Address, one = everyAddress(one[:at]), one[at+1:]
			l.Comment = ports.comment()
		} else if l.Address != "" {
			l.Comment = address.comment()
		}
		n, err := strconv.Atoi(one)
		if err != nil {
			r.host.note(ports.Origin, true, "%s: %q is no port, and is left out", ports.assignment(), one)
			continue
		}
		if one != implied || i > 0 {
			l.Port, l.Comment = n, ports.comment()
		}
		r.security(&l, name)
		words := r.announced(name)
		l.Off = r.off(words)
		if len(l.Off) > 0 {
			l.Comment = strings.TrimPrefix(l.Comment+"; "+r.offComment(words), "; ")
		}
		r.host.Listeners = append(r.host.Listeners, l)
	}
}

// security says how TLS starts.
func (r *reading) security(l *Listener, name string) {
	starttls, required := r.imap["IMAPDSTARTTLS"], r.imap["IMAP_TLS_REQUIRED"]
	switch offered := r.starttls(); {
	case name == "imaps":
		if l.Name != "imaps" {
			l.TLS = "implicit"
		}
	case strings.HasPrefix(required.Value, "1"):
	case loopback(l.Address) && !offered:
		l.TLS = "none"
		l.Comment = strings.TrimPrefix(l.Comment+"; "+starttls.comment(), "; ")
	case loopback(l.Address):
		r.host.note(required.Origin, true, "%s: clients of the listener %s have to use TLS; where they cannot, give it tls: \"none\", which a loopback address may have",
			optional(required, "IMAP_TLS_REQUIRED"), l.Name)
	default:
		r.host.note(required.Origin, true, "%s: nobody logs in on the listener %s without TLS any more; Courier let clients do so", optional(required, "IMAP_TLS_REQUIRED"), l.Name)
	}
}

// optional is a setting, or that it is not set.
func optional(s Setting, name string) string {
	if s.Name == "" {
		return name + " is not set"
	}
	return s.assignment()
}

// starttls tells whether STARTTLS was offered.
func (r *reading) starttls() bool {
	s := r.imap["IMAPDSTARTTLS"]
	return s.Name == "" || strings.EqualFold(s.Value, "YES")
}

// announced is the setting with the capabilities that clients were told who log in: of
// those who have TLS its own, if it says anything.
func (r *reading) announced(name string) Setting {
	plain, secure := r.imap["IMAP_CAPABILITY"], r.imap["IMAP_CAPABILITY_TLS"]
	if secure.Value == "" || name != "imaps" && !r.starttls() || plain.Name != "" && slices.Equal(withoutWords(plain), withoutWords(secure)) {
		return plain
	}
	return secure
}

// withoutWords lists Courier's capabilities that are not among those of a setting.
func withoutWords(s Setting) []string {
	var off []string
	words := strings.Fields(strings.ToUpper(s.Value))
	for _, word := range strings.Fields(courierWords)[1:] {
		if !slices.Contains(words, word) {
			off = append(off, word)
		}
	}
	return off
}

// off lists the capabilities that were taken out of what Courier announces.
func (r *reading) off(words Setting) []string {
	var off []string
	if words.Name != "" {
		off = withoutWords(words)
	}
	if s, set := r.imap["IMAP_ACL"]; set && strings.HasPrefix(s.Value, "0") {
		off = append(off, "ACL")
	}
	if strings.HasPrefix(r.imap.Get("IMAP_DISABLETHREADSORT"), "1") {
		off = append(off, "SORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES")
	}
	slices.Sort(off)
	return slices.Compact(off)
}

func (r *reading) offComment(words Setting) string {
	var all []string
	for _, name := range []string{words.Name, "IMAP_ACL", "IMAP_DISABLETHREADSORT"} {
		if o, _ := find(imapd, name); r.imap[name].Name != "" && !o.usual(r.imap.Get(name)) {
			all = append(all, r.imap[name].comment())
		}
	}
	return strings.Join(all, "; ")
}

// everyAddress gives an address of Courier's: 0 is every one.
func everyAddress(address string) string {
	switch address {
	case "0", "*", "0.0.0.0", "::", "[::]":
		return ""
	}
	return strings.Trim(address, "[]")
}

func loopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.IsLoopback()
}

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"mailstead/imapserver/limit"
)

// The bounds of single values.
const (
	maxPath     = 4096 // PATH_MAX
	maxSocket   = 107  // sun_path less its NUL
	maxUserName = 255
	maxHash     = 1024
	maxNote     = 2048
	maxOff      = 200
	maxID       = 1<<32 - 2 // the last one means "no id" to the kernel
)

// Pattern is a regular expression that is made when it is first asked for. Programs have
// all of those in their packages, and most use none: workers, and what is started for each
// message, would have a megabyte of them.
func Pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

var (
	fieldName   = Pattern(`^[A-Za-z0-9-]{1,70}$`)
	plainName   = Pattern(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)
	bundleName  = Pattern(`^[A-Za-z0-9_*]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_-])?$`)
	domainLabel = Pattern(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	generation  = Pattern(`^[0-9a-z-]{1,64}$`)
	capability  = Pattern(`^[0-9A-Za-z.=+_-]{1,64}$`)
	imapURL     = Pattern(`^imap://[0-9A-Za-z._~%+;=*-]{1,200}@[0-9A-Za-z.:-]{1,260}/$`)
	cryptHash   = Pattern(`^\$[0-9A-Za-z./$=,+_-]+$|^SCRAM-SHA-256\$[0-9A-Za-z/$=+:]+$|^\{[0-9A-Z]+\}[^\x00-\x1f\x7f]+$`)
)

// faults collects everything that is wrong with a value.
type faults []error

func (f *faults) add(format string, args ...any) {
	*f = append(*f, fmt.Errorf(format, args...))
}

// at adds err, if there is one, under the name of what it is about; each of
// the errors that were joined into one keeps a line of its own.
func (f *faults) at(where string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, each := range joined.Unwrap() {
			f.at(where, each)
		}
	} else if err != nil {
		*f = append(*f, fmt.Errorf("%s: %w", where, err))
	}
}

// Check finds everything in a configuration that the daemon could not serve
// safely, all at once: one line for each fault.
func (c *Config) Check() error {
	if c.Version != FormatVersion {
		return versionError(c.Version)
	}
	var f faults
	if !generation().MatchString(c.Generation) {
		f.add("generation: %q is not a digest", c.Generation)
	}
	f.at("hostname", checkDomain(c.Hostname))
	f.at("control", checkSocket(c.Control))
	f.at("users", checkPath(c.Users))
	f.at("service", checkIdentity(c.Service.UID, c.Service.GID))
	c.checkListeners(&f)
	c.checkTLS(&f)
	if c.Keep < 0 {
		f.add("keep: %d seconds", c.Keep)
	}
	if c.Namespace != "" && c.Namespace != "INBOX." {
		f.add("namespace: %q: either empty or %q", c.Namespace, "INBOX.")
	}
	for field, text := range map[string]string{"admin": c.Admin, "comment": c.Comment} {
		f.at(field, checkText(text))
		if len(text) > maxNote {
			f.add("%s: %d bytes, more than %d", field, len(text), maxNote)
		}
	}
	if o := c.Outbox; o != nil {
		f.at("outbox.mailbox", checkText(o.Mailbox))
		f.at("outbox.socket", checkPath(o.Socket))
		if o.Mailbox == "" || len(o.Socket) > maxSocket || o.Header != "" && !fieldName().MatchString(o.Header) {
			f.add("outbox: no mailbox, a path of more than %d bytes, or a header field %q with a strange name", maxSocket, o.Header)
		}
	}
	if c.Record != "" {
		f.at("record", checkPath(c.Record))
	}
	if c.MailRoot != "" {
		f.at("mail_root", checkPath(c.MailRoot))
	}
	if c.PAM != nil {
		if !plainName().MatchString(c.PAM.Service) {
			f.add("pam.service: %q is not the name of a PAM service", c.PAM.Service)
		}
		f.at("pam.helper", checkPath(c.PAM.Helper))
		if c.PAM.Socket != "" {
			f.at("pam.socket", checkSocket(c.PAM.Socket))
		}
	}
	c.checkDirectories(&f)
	f.at("limits", errors.Join(limit.Check(c.Limits)...))
	f.at("logins", c.Logins.check())
	c.checkRoles(&f)
	if c.Workers != WorkerPerUID && c.Workers != WorkerInline {
		f.add("workers: %q: either %q or %q", c.Workers, WorkerPerUID, WorkerInline)
	}
	return errors.Join(f...)
}

func (c *Config) checkRoles(f *faults) {
	switch r := c.Roles; {
	case r == nil && c.Workers == WorkerPerUID:
		f.add("roles: missing, with workers %q", c.Workers)
	case r != nil && c.Workers == WorkerInline:
		f.add("roles: given, with workers %q", c.Workers)
	case r != nil:
		f.at("roles.login", checkIdentity(r.Login.UID, r.Login.GID))
		f.at("roles.auth", checkSocket(r.Auth))
		f.at("roles.spawn", checkSocket(r.Spawn))
		if r.Login.UID == c.Service.UID {
			f.add("roles.login: uid %d is that of the service, whose files a login must not reach", r.Login.UID)
		}
	}
}

func (c *Config) checkListeners(f *faults) {
	for i, l := range c.Listeners {
		where := fmt.Sprintf("listeners[%d] (%s)", i, l.Name)
		f.at(where, checkListener(l, len(c.TLS.Bundles) > 0))
		for _, other := range c.Listeners[:i] {
			if other.Name == l.Name {
				f.add("%s: the name is given twice", where)
			}
			if l.Port != 0 && other.Port == l.Port && overlap(other.Address, l.Address) {
				f.add("%s: port %d is taken by %s", where, l.Port, other.Name)
			}
		}
	}
}

func checkListener(l Listener, certificates bool) error {
	var f faults
	if !plainName().MatchString(l.Name) {
		f.add("name: %q: at most 32 lower-case letters, digits and hyphens, the first a letter", l.Name)
	}
	loopback := false
	if l.Address != "" {
		a, err := netip.ParseAddr(l.Address)
		if err != nil || a.Zone() != "" {
			f.add("address: %q is not an IP address", l.Address)
		}
		loopback = a.IsLoopback()
	}
	if l.Port < 0 || l.Port > 65535 {
		f.add("port: %d is not between 1 and 65535", l.Port)
	}
	f.at("off", checkOff(l.Off))
	f.at("clients", l.Clients.check())
	if _, err := ParseNets(l.Proxies); err != nil {
		f.at("proxies", err)
	}
	f.at("proxy", l.Proxy.check())
	if l.Clients != nil && l.Proxy != nil {
		f.add("clients: a certificate that is shown to a proxy proves nothing to the server behind it")
	}
	if l.Clients != nil && l.TLS == Plain {
		f.add("clients: no client shows a certificate without TLS")
	}
	switch l.TLS {
	case STARTTLS, Implicit:
		if !certificates {
			f.add("tls: %s without any certificate bundle", l.TLS)
		}
	case Plain:
		if !loopback {
			f.add("tls: none is for loopback addresses only")
		}
	default:
		f.add("tls: %q: one of %q, %q and %q", l.TLS, STARTTLS, Implicit, Plain)
	}
	return errors.Join(f...)
}

// checkOff wants names of capabilities; whether there are such the daemon knows.
func checkOff(names []string) error {
	if len(names) > maxOff {
		return fmt.Errorf("%d names, more than %d", len(names), maxOff)
	}
	for _, name := range names {
		if !capability().MatchString(name) {
			return fmt.Errorf("%q is not the name of a capability", name)
		}
	}
	return nil
}

// overlap says whether two addresses cannot both be bound to one port. The
// address of everything in IPv6 takes IPv4 along.
func overlap(a, b string) bool {
	pa, errA := netip.ParseAddr(a)
	pb, errB := netip.ParseAddr(b)
	if errA != nil || errB != nil {
		return a == "" || b == ""
	}
	pa, pb = pa.Unmap(), pb.Unmap()
	if pa == netip.IPv6Unspecified() || pb == netip.IPv6Unspecified() {
		return true
	}
	return pa == pb || (pa.Is4() == pb.Is4() && (pa.IsUnspecified() || pb.IsUnspecified()))
}

func (c *Config) checkTLS(f *faults) {
	if c.TLS.Policy != Modern && c.TLS.Policy != Intermediate {
		f.add("tls.policy: %q: either %q or %q", c.TLS.Policy, Modern, Intermediate)
	}
	bundles := map[string]bool{}
	served := map[string]string{}
	for i, b := range c.TLS.Bundles {
		where := fmt.Sprintf("tls.bundles[%d] (%s)", i, b.Name)
		if !bundleName().MatchString(b.Name) {
			f.add("%s: name: %q is not the name of a bundle", where, b.Name)
		}
		if bundles[b.Name] {
			f.add("%s: the name is given twice", where)
		}
		bundles[b.Name] = true
		f.at(where+": file", checkPath(b.File))
		if len(b.Names) == 0 {
			f.add("%s: names: not one, so it could never be served", where)
		}
		for _, name := range b.Names {
			f.at(where+": names", checkDomain(strings.TrimPrefix(name, "*.")))
			if other, taken := served[name]; taken {
				f.add("%s: names: %s is served by %s", where, name, other)
			}
			served[name] = b.Name
		}
	}
}

func checkIdentity(uid, gid int) error {
	if uid < 0 || uid > maxID {
		return fmt.Errorf("uid %d is no uid", uid)
	}
	if gid < 0 || gid > maxID {
		return fmt.Errorf("gid %d is no gid", gid)
	}
	return nil
}

// checkPath wants an absolute path in its shortest form that is not the root.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("missing")
	case len(p) > maxPath:
		return fmt.Errorf("%d bytes, more than %d", len(p), maxPath)
	case !path.IsAbs(p) || path.Clean(p) != p || p == "/":
		return fmt.Errorf("%q is not an absolute path in its shortest form", p)
	}
	return checkText(p)
}

// checkSocket wants the path of a socket.
func checkSocket(p string) error {
	if len(p) > maxSocket {
		return fmt.Errorf("%d bytes: the path of a socket has at most %d", len(p), maxSocket)
	}
	return checkPath(p)
}

// checkText refuses what JSON or a log could not give back as it is.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not UTF-8", s)
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return fmt.Errorf("%q holds a control character", s)
		}
	}
	return nil
}

// checkDomain wants a domain name in lower case, such as mail.example.org.
func checkDomain(name string) error {
	if len(name) > 253 {
		return fmt.Errorf("%d bytes, more than 253", len(name))
	}
	for label := range strings.SplitSeq(name, ".") {
		if !domainLabel().MatchString(label) {
			return fmt.Errorf("%q is not a domain name in lower case", name)
		}
	}
	return nil
}

package render

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"mailstead/render/profile"
	"mailstead/schema"
)

// Snippets are the programs whose configuration this package knows, in the order
// of the manual.
var Snippets = []string{"exim", "postfix", "dovecot-lda"}

// Snippet writes the lines by which a mail server delivers to the users of a
// host. What is asked for and not there is an error.
func Snippet(program string, host *schema.Host) ([]byte, error) {
	s := newSnippet(host)
	switch {
	case program == "dovecot-lda":
		s.dovecot()
	case host.Deliver == nil:
		return nil, fmt.Errorf("the description of %s has no deliver, without which mailstead-deliver knows nobody", host.Name)
	case program == "exim":
		s.exim()
	case program == "postfix":
		s.postfix()
	default:
		return nil, fmt.Errorf("there is no snippet for %q: they are %s", program, strings.Join(Snippets, ", "))
	}
	return s.Bytes(), nil
}

// snippet is a text in the making.
type snippet struct {
	bytes.Buffer
	host            *schema.Host
	program         string
	system, virtual bool     // there are such users
	local           []string // domains whose addresses are users by their local part
	hosted          []string // other domains that users have in their names
}

func newSnippet(host *schema.Host) *snippet {
	s := &snippet{host: host, program: Program(host.Paths, "mailstead-deliver")}
	if d := host.Deliver; d != nil {
		s.local = d.Domains
	}
	for _, u := range host.Users {
		if u.Elsewhere != "" { // another server takes that mail
			continue
		}
		s.system = s.system || u.System != nil
		s.virtual = s.virtual || u.Virtual != nil
		if _, domain := address(u.Name); profile.IsDomain(domain) && !slices.Contains(s.local, domain) {
			s.hosted = append(s.hosted, domain)
		}
	}
	slices.Sort(s.hosted)
	s.hosted = slices.Compact(s.hosted)
	return s
}

// address parts the name of a user, in small letters, at the last "@"; without one there
// is no domain.
func address(name string) (local, domain string) {
	name = strings.ToLower(name)
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return name, ""
}

// p writes a line.
func (s *snippet) p(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// state is the option that names the directory of tables, where that is not the
// program's own idea.
func (s *snippet) state() string {
	if s.host.Paths.State == "/var/lib/mailstead" {
		return ""
	}
	return " -state " + s.host.Paths.State
}

func (s *snippet) exim() {
	d := s.host.Deliver
	one := func(name, transport string, lines ...string) {
		s.p("%s:", name)
		s.p("  driver = accept")
		s.p("  domains = %s", strings.Join(slices.Concat(s.local, s.hosted), " : "))
		for _, line := range lines {
			s.p("  %s", line)
		}
		s.p("  transport = %s", transport)
	}
	router := func(name, transport string, lines ...string) {
		one(name, transport, lines...)
		if d.Detail != "" { // by itself, since names may have it too
			one(name+"_detail", transport, append([]string{"local_part_suffix = " + d.Detail + "*"}, lines...)...)
		}
	}
	word := fmt.Sprintf("${lookup{${lc:$local_part@$domain}}lsearch{%s}", AddressFile(s.host.Paths))
	known := "condition = " + word + "{yes}{no}}"
	// An account of the host may have the local part of an address that is another's.
	of := func(whose string) string { return "condition = ${if eq{" + word + "}}{" + whose + "}}" }
	s.p("# Routers: before those that deliver to local users. The domains have to be")
	s.p("# among those that Exim is responsible for (dc_other_hostnames in Debian).")
	if d.LMTP != nil {
		router("mailstead", "mailstead_lmtp", known)
		s.p("\n# Transports:")
		s.p("mailstead_lmtp:\n  driver = lmtp\n  socket = %s\n  batch_max = 50\n  rcpt_include_affixes", d.LMTP.Socket)
		return
	}
	if s.system {
		router("mailstead_system", "mailstead_pipe", of(systemAddress), "check_local_user")
	}
	if s.virtual {
		router("mailstead_virtual", "mailstead_pipe", of(virtualAddress), "user = "+s.host.Mail.User)
	}
	s.p("\n# Transports:")
	s.p("mailstead_pipe:\n  driver = pipe")
	s.p("  command = %s%s -e", s.program, s.state()) // an argument from outside is refused as tainted
	s.p("  message_prefix =\n  message_suffix =\n  temp_errors = 75\n  log_fail_output\n  return_fail_output = false")
}

func (s *snippet) postfix() {
	d := s.host.Deliver
	s.p("# main.cf")
	if d.Detail != "" {
		s.p("recipient_delimiter = %s", d.Detail)
	}
	s.p("# mydestination has to name %s", strings.Join(s.local, ", "))
	s.p("local_recipient_maps = texthash:%s, $alias_maps", AddressFile(s.host.Paths))
	via := "mailstead:"
	if d.LMTP != nil {
		via = "mailstead:unix:" + d.LMTP.Socket
	}
	switch {
	case d.LMTP != nil:
		s.p("mailbox_transport = %s", via)
	case s.system:
		s.p("mailbox_command = %s%s -e", s.program, s.state())
	}
	if d.LMTP == nil && s.virtual {
		s.p("fallback_transport = %s", via) // of those who have no account
	}
	if len(s.hosted) > 0 {
		s.p("virtual_mailbox_domains = %s", strings.Join(s.hosted, ", "))
		s.p("virtual_mailbox_maps = texthash:%s", AddressFile(s.host.Paths))
		s.p("virtual_transport = %s", via)
	}
	s.p("\n# master.cf")
	switch {
	case d.LMTP != nil:
		s.p("# the client for LMTP, not in a chroot, where the socket could not be found")
		s.p("mailstead unix  -       -       n       -       -       lmtp")
	case s.virtual:
		s.p("mailstead unix  -       n       n       -       10      pipe")
		s.p("  flags=X user=%s null_sender= argv=%s%s -f ${sender} -a ${original_recipient} -- ${recipient}", s.host.Mail.User, s.program, s.state())
	default:
		s.p("# nothing")
	}
}

func (s *snippet) dovecot() {
	s.p("# dovecot.conf for dovecot-lda, with which Dovecot serves nobody")
	s.p("protocols =")
	place := "~/Maildir"
	if s.virtual && !s.system {
		place = s.host.Mail.Root + "/%u/Maildir"
	}
	s.p("# There is no CONTROL=: Dovecot would have a maildirsize of its own there.")
	s.p("mail_location = maildir:%s:UTF-8:INDEX=MEMORY", place)
	s.p("namespace inbox {\n  inbox = yes\n  separator = .\n}")
	s.p("lda_mailbox_autocreate = no")
	if d := s.host.Deliver; d != nil && d.Detail != "" {
		s.p("recipient_delimiter = %s", d.Detail)
	}
	s.p("# The limits are those of maildirsize.\nmail_plugins = quota\nplugin {\n  quota = maildir:User quota\n}")
	if s.system {
		s.p("userdb {\n  driver = passwd\n}")
	}
	if s.virtual {
		s.p("userdb {\n  driver = static\n  args = uid=%[1]s gid=%[1]s home=%[2]s/%%u allow_all_users=yes\n}", s.host.Mail.User, s.host.Mail.Root)
	}
	s.exceptions()
}

// exceptions names those whose mail is elsewhere than those lines say.
func (s *snippet) exceptions() {
	for _, u := range s.host.Users {
		usual := "Maildir"
		if u.Virtual != nil {
			usual = path.Join(s.host.Mail.Root, u.Name, "Maildir")
		}
		if u.Maildir != usual {
			s.p("# not by these lines: %s, whose mail is in %s", u.Name, u.Maildir)
		}
	}
}

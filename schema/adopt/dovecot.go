package adopt

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// dovecotReading is the work of ReadDovecot.
type dovecotReading struct {
	*reading
	list []doveSetting
}

// ReadDovecot makes a host of what "doveconf -n" says, which is conf, and of the
// files that it names. file is how conf is named in comments. The errors: a
// *SyntaxError; what keeps a file from being read.
func ReadDovecot(fsys fs.FS, name, file string, conf []byte) (*Host, error) {
	list, err := readDoveconf(file, conf)
	if err != nil {
		return nil, err
	}
	r := &dovecotReading{&reading{fsys: fsys, host: &Host{Name: name, Server: "Dovecot"}}, list}
	r.listeners()
	r.certificates()
	r.fields()
	r.others()
	if err := r.users(); err != nil {
		return nil, err
	}
	return r.host, nil
}

// listeners are those of imap-login: 143 and 993 unless it says otherwise, at the
// addresses of "listen" unless they have their own.
func (r *dovecotReading) listeners() {
	for _, l := range r.inetListeners() {
		for n, address := range addresses(l.Address) {
			r.listener(l, n, address)
		}
	}
}

// inetListeners gives those of imap-login, each with the list of its addresses.
func (r *dovecotReading) inetListeners() []Listener {
	everywhere := top(r.list, "listen")
	own := map[string]bool{}
	all := []Listener{{Name: "imap"}, {Name: "imaps"}}
	for _, s := range r.list {
		name, ok := s.within("inet_listener")
		if !ok || !slices.Contains(s.path, "service imap-login") {
			continue
		}
		i := slices.IndexFunc(all, func(l Listener) bool { return l.Name == name })
		if i < 0 {
			all, i = append(all, Listener{Name: name}), len(all)
		}
		l := &all[i]
		switch s.name {
		case "port":
			n, err := strconv.Atoi(s.value)
			if err != nil {
				n = -1
			}
			l.Port, l.Comment = n, s.setting().comment()
			if n == 0 { // Dovecot's way to say that there is none
				l.Port = -1
			}
		case "address", "listen":
			if own[name] = strings.TrimSpace(s.value) != ""; own[name] {
				l.Address, l.Comment = s.value, s.setting().comment()
			}
		case "ssl":
			if s.value == "yes" && name != "imaps" {
				l.TLS = "implicit"
			}
		}
	}
	for i := range all {
		if l := &all[i]; !own[l.Name] && everywhere.Value != "" {
			l.Address = everywhere.Value
			if slices.ContainsFunc(addresses(l.Address), func(a string) bool { return a != "" }) {
				l.Comment = strings.TrimPrefix(l.Comment+"; "+everywhere.comment(), "; ")
			}
		}
	}
	return all
}

// addresses splits a list of Dovecot's. One that has every address of a family is
// every address.
func addresses(list string) []string {
	var all []string
	for _, a := range strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
		if a = everyAddress(a); a == "" {
			return []string{""}
		}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	if all == nil {
		return []string{""}
	}
	return all
}

// listener adds the listener for the n-th address of l.
func (r *dovecotReading) listener(l Listener, n int, address string) {
	ssl, name := top(r.list, "ssl"), l.Name
	l.Address = address
	switch {
	case l.Port < 0, name == "imaps" && ssl.Value == "no":
		return
	case ssl.Value == "no" && loopback(l.Address):
		l.TLS, l.Comment = "none", ssl.comment()
	case name == "imap" && ssl.Value != "required":
		r.host.note(ssl.Origin, true, "%s: nobody logs in on the listener imap without TLS any more", optional(ssl, "ssl"))
	}
	implied := map[string]int{"imap": 143, "imaps": 993}[name]
	switch {
	case n > 0:
		l.Name = name + "-" + strconv.Itoa(n+1)
		if l.Port == 0 {
			l.Port = implied
		}
		if name == "imaps" {
			l.TLS = "implicit"
		}
	case l.Port == implied:
		l.Port = 0
	}
	r.host.Listeners = append(r.host.Listeners, l)
}

// offer is a certificate as some settings name it.
type offer struct {
	cert, key Setting
	names     []string // of the clients that get it, by SNI; nil: of all that it is for
	address   bool     // they come to an address of its own
}

func (o offer) file() string { return strings.TrimSpace(strings.TrimPrefix(o.cert.Value, "<")) }

func offerOf(list []doveSetting) offer {
	return offer{cert: last(list, "ssl_cert", "ssl_server_cert_file", "ssl_cert_file"), key: last(list, "ssl_key", "ssl_server_key_file", "ssl_key_file")}
}

// certificates are those for clients that ask for a name (local_name), which go first,
// the one of the host, and those of addresses (local).
func (r *dovecotReading) certificates() {
	own := offerOf(topmost(r.list))
	var offers []offer
	at := map[string]int{"": -1, own.file(): -1} // which of them has a file
	for _, section := range sections(r.list, "local_name") {
		o := offerOf(section)
		name, _ := section[0].within("local_name")
		i, seen := at[o.file()]
		if !seen {
			i = len(offers)
			at[o.file()], offers = i, append(offers, o)
		}
		if i >= 0 {
			offers[i].names = append(offers[i].names, strings.Fields(strings.ToLower(name))...)
		}
	}
	offers = append(offers, own)
	for _, section := range sections(r.list, "local") {
		o := offerOf(section)
		o.address = true
		if _, seen := at[o.file()]; !seen {
			at[o.file()], offers = len(offers), append(offers, o)
		}
	}
	all := r.lineages()
	for _, o := range offers {
		before := len(r.host.Certificates)
		r.offered(o, all)
		if o.names == nil && !o.address && 0 < before && before < len(r.host.Certificates) {
			r.host.Fields = append(r.host.Fields, Field{"tls: default", quote(r.host.Certificates[before].Name), o.cert.comment()})
		}
	}
}

// offered adds a certificate. doveconf hides where the key is.
func (r *dovecotReading) offered(o offer, all []lineage) {
	file := o.file()
	if file == "" {
		return
	}
	if l, err := r.readLeaf(file); err == nil && l != nil && len(l.names) > 0 {
		if o.address && !r.served(o.cert, file, nil) {
			return
		}
		o.names = slices.DeleteFunc(o.names, func(n string) bool {
			wrong := l.covers(strings.Replace(n, "*", "any-label", 1)) != nil
			if wrong {
				r.host.note(o.cert.Origin, true, "%s: the certificate is not for %s, and is not served for it", printable(file), printable(cut(n)))
			}
			return wrong
		})
		if o.names != nil && len(o.names) == 0 {
			return
		}
	}
	before := len(r.host.Certificates)
	key := strings.TrimSpace(strings.TrimPrefix(o.key.Value, "<"))
	if !path.IsAbs(key) {
		key = ""
	}
	r.certificate(o.cert, file, key, o.names, all)
	if len(r.host.Certificates) == before {
		return
	}
	if c := &r.host.Certificates[before]; c.Lineage == "" && key == "" {
		r.host.Certificates = r.host.Certificates[:before]
		r.host.note(o.cert.Origin, true, "where the key of %s is has not been told: \"doveconf -nP\" does", printable(file))
	}
}

// fields are those of the host itself.
func (r *dovecotReading) fields() {
	r.namespaces()
	if s := top(r.list, "ssl_min_protocol"); s.Value == "TLSv1.3" {
		r.host.Fields = append(r.host.Fields, Field{"tls: policy", `"modern"`, s.comment()})
	}
	for _, s := range r.list {
		if isQuota(s) {
			r.quota(s)
		}
	}
}

// namespaces are the one with the INBOX, and others, which are not served.
func (r *dovecotReading) namespaces() {
	for _, section := range sections(r.list, "namespace") {
		name, _ := section[0].within("namespace")
		inbox, prefix, separator := last(section, "inbox"), last(section, "prefix"), last(section, "separator")
		if inbox.Value != "yes" && (inbox.Value != "" || name != "inbox") {
			r.host.note(section[0].origin, true, "namespace %s: its folders are not served; folders are shared by the rights that their owner gives (ACL)", optional(prefix, "prefix"))
			continue
		}
		switch {
		case prefix.Value == "":
		case strings.EqualFold(strings.TrimRight(prefix.Value, "./"), "INBOX"):
			r.host.Fields = append(r.host.Fields, Field{"namespace", `"INBOX."`, prefix.comment()})
		default:
			r.host.note(prefix.Origin, true, "%s: folders are shown without it", prefix.assignment())
		}
		if separator.Value != "" && separator.Value != "." {
			r.host.note(separator.Origin, true, "%s: the parts of a folder's name are parted by a full stop; mail programs find that out themselves", separator.assignment())
		}
	}
}

// isQuota tells whether a setting is what everybody may have: in 2.3 a rule of a plugin,
// in 2.4 two settings, which may stand in the section of a quota.
func isQuota(s doveSetting) bool {
	_, plugin := s.within("plugin")
	_, section := s.within("quota")
	switch s.name {
	case "quota_rule":
		return plugin
	case "quota_storage_size", "quota_message_count":
		return section || len(s.path) == 0
	case "storage_size", "message_count":
		return section
	}
	return false
}

var (
	quotaRule = regexp.MustCompile(`^\*:(storage|messages)=([0-9]+)([kKMGT]?)[bB]?$`)
	quotaSize = regexp.MustCompile(`^([1-9][0-9]*) ?([kKMGT]?)[bB]?$`)
)

// quota takes over what everybody may have.
func (r *dovecotReading) quota(s doveSetting) {
	rule, size := quotaRule.FindStringSubmatch(s.value), quotaSize.FindStringSubmatch(s.value)
	field, value := "quota: storage", ""
	switch {
	case s.name == "quota_rule" && rule != nil && rule[1] == "messages":
		field, value = "quota: messages", rule[2]
	case s.name == "quota_rule" && rule != nil:
		value = quote(rule[2] + binary(rule[3]))
	case strings.HasSuffix(s.name, "storage_size") && size != nil && size[2] == "":
		value = quote(size[1] + "B")
	case strings.HasSuffix(s.name, "storage_size") && size != nil:
		value = quote(size[1] + binary(size[2]))
	case strings.HasSuffix(s.name, "message_count") && size != nil && size[2] == "":
		field, value = "quota: messages", size[1]
	default:
		r.host.note(s.origin, true, "%s: is not taken over", s.setting().assignment())
		return
	}
	r.host.Fields = append(r.host.Fields, Field{field, value, s.setting().comment()})
}

// binary gives a unit of Dovecot's quota, which is a power of 1024: without one it is
// kilobytes.
func binary(unit string) string {
	if unit == "" {
		unit = "K"
	}
	return strings.ToUpper(unit) + "iB"
}

// read are the settings that something above makes use of, and those that mean nothing here.
var read = append([]string{"ssl", "mail_location", "mail_driver", "mail_path", "mail_home",
	"mail_uid", "mail_gid", "mailbox_list_layout", "dovecot_config_version", "dovecot_storage_version", "mail_privileged_group", "ssl_client_ca_dir", "ssl_dh", "listen"}, ofCertificate...)

var ofCertificate = []string{"ssl_cert", "ssl_key", "ssl_server_cert_file", "ssl_server_key_file", "ssl_cert_file", "ssl_key_file"}

// readWithin are those in a section, by its kind.
var readWithin = map[string][]string{
	"inet_listener": {"port", "address", "listen", "ssl"},
	"passdb":        {"driver", "args", "passwd_file_path", "deny", "passdb_deny", "master", "passdb_master"},
	"userdb":        {"driver", "args"},
	"local":         ofCertificate,
	"local_name":    ofCertificate,
	"namespace":     {"inbox", "prefix", "separator", "type", "location", "list", "subscriptions", "hidden"},
	"mailbox":       {"special_use", "auto", "autoexpunge", "autoexpunge_max_mails"},
	"plugin":        {},
}

// others notes what is not taken over: of a section that nothing is read of, that alone.
func (r *dovecotReading) others() {
	told := map[string]bool{}
	for _, s := range r.list {
		kind, _, _ := strings.Cut(strings.Join(s.path[max(0, len(s.path)-1):], ""), " ")
		known, some := readWithin[kind]
		switch {
		case len(s.path) == 0:
			r.other(s)
		case isQuota(s), some && slices.Contains(known, s.name), len(s.path) == 2 && kind == "fields" && strings.HasPrefix(s.path[0], "userdb"):
		case some, s.path[0] == "service imap-login":
			r.host.note(s.origin, false, "%s: %s: is not taken over", printable(cut(strings.Join(s.path, ": "))), s.setting().assignment())
		case !told[s.path[0]]:
			told[s.path[0]] = true
			r.host.note(s.origin, false, "%s: is not taken over", printable(cut(s.path[0])))
		}
		if name, ok := s.within("mailbox"); ok && (s.name == "auto" && s.value != "no" || strings.HasPrefix(s.name, "autoexpunge")) {
			r.host.note(s.origin, strings.HasPrefix(s.name, "autoexpunge"), "mailbox %s: %s: no folder is made that was not there, and no mail is removed by its age", printable(name), s.setting().assignment())
		}
	}
}

// other notes a setting of no section that is not taken over.
func (r *dovecotReading) other(s doveSetting) {
	switch {
	case s.name == "protocols":
		for _, p := range strings.Fields(s.value) {
			if p != "imap" && p != "none" {
				r.host.note(s.origin, true, "%s: %s is not served", s.setting().assignment(), printable(p))
			}
		}
	case s.name == "ssl_min_protocol" && s.value != "TLSv1.3" && s.value != "TLSv1.2":
		r.host.note(s.origin, true, "%s: TLS 1.2 and 1.3 are served", s.setting().assignment())
	case s.name != "ssl_min_protocol" && !isQuota(s) && !slices.Contains(read, s.name):
		r.host.note(s.origin, false, "%s: is not taken over", s.setting().assignment())
	}
}

// where is the template of a Maildir, such as ~/Maildir; "" where mail is kept in
// another form.
func (r *dovecotReading) where() string {
	if s := top(r.list, "mail_driver"); s.Value == "maildir" {
		if layout := top(r.list, "mailbox_list_layout"); layout.Value != "" && layout.Value != "maildir++" {
			r.host.note(layout.Origin, true, "%s: run \"mailstead flatten\" for each Maildir", layout.assignment())
		}
		return strings.TrimSuffix(top(r.list, "mail_path").Value, "/")
	}
	s := top(r.list, "mail_location")
	form, rest, _ := strings.Cut(s.Value, ":")
	parts := strings.Split(rest, ":")
	if form != "maildir" {
		r.host.note(s.Origin, true, "%s: mail is not kept in Maildirs; \"doveadm sync\" converts it", optional(s, "mail_location"))
		return ""
	}
	for _, p := range parts[1:] {
		if strings.HasPrefix(p, "LAYOUT=fs") {
			r.host.note(s.Origin, true, "%s: run \"mailstead flatten\" for each Maildir", s.assignment())
		} else if strings.HasPrefix(p, "CONTROL=") || strings.HasPrefix(p, "INBOX=") {
			r.host.note(s.Origin, true, "%s: UIDs are taken over from files in the Maildir alone; move them there", s.assignment())
		}
	}
	return strings.TrimSuffix(parts[0], "/")
}

// users are those of PAM and of passwd-files.
func (r *dovecotReading) users() error {
	data, err := r.fileWithin(passwdFile, maxUsers)
	if err != nil {
		return err
	}
	passwd, where := readPasswd(passwdFile, data), r.where()
	if where == "" {
		return nil
	}
	var virtual, denied []account
	for _, section := range sections(r.list, "passdb") {
		driver, args := driverOf(section)
		switch deny := last(section, "deny", "passdb_deny").Value == "yes"; {
		case last(section, "master", "passdb_master").Value == "yes":
			r.host.note(section[0].origin, true, "passdb %s: master users are not taken over; say who they are in logins: masters", printable(driver))
		case driver == "passwd-file":
			some, err := r.passwdFile(args, passwd, where)
			if err != nil {
				return err
			}
			if deny {
				denied = append(denied, some...)
			} else {
				virtual = append(virtual, some...)
			}
		case deny:
			r.host.note(section[0].origin, true, "passdb %s: who is refused there is let in; leave them out by hand", printable(driver))
		case slices.Contains([]string{"pam", "passwd", "shadow", "bsdauth"}, driver):
			r.people(passwd, where)
		default:
			r.host.note(section[0].origin, true, "passdb %s: who is in there cannot be told without asking it; write these users by hand", printable(driver))
		}
	}
	if len(virtual) > 0 {
		r.virtual(virtual, passwd)
	}
	refused := map[string]Origin{}
	for _, a := range denied {
		refused[a.name] = a.origin
	}
	for _, u := range r.host.Users {
		if o, ok := refused[u.Name]; ok {
			u.Left, u.Shut = "Dovecot refuses it by "+o.String(), true
		}
	}
	slices.SortStableFunc(r.host.Users, func(a, b *User) int { return strings.Compare(a.Name, b.Name) })
	r.host.Users = slices.CompactFunc(r.host.Users, func(a, b *User) bool { return a.Name == b.Name })
	return nil
}

// driverOf gives the driver of a passdb or userdb, and its arguments.
func driverOf(section []doveSetting) (driver string, args Setting) {
	driver, _ = section[0].within(strings.Fields(section[0].path[0])[0])
	for _, s := range section {
		switch s.name {
		case "driver":
			driver = s.value
		case "args", "passwd_file_path":
			args = s.setting()
		}
	}
	return driver, args
}

// people are the accounts of the host, as with Courier.
func (r *dovecotReading) people(passwd []account, where string) {
	for _, a := range passwd {
		u := &User{Name: a.name, UID: a.uid, GID: a.gid, Home: a.home, Maildir: expand(where, a.name, a.home), Origin: a.origin}
		if rel, ok := strings.CutPrefix(u.Maildir, strings.TrimSuffix(a.home, "/")+"/"); ok && rel != "Maildir" {
			u.Setting = rel
		} else if !ok {
			u.Setting = u.Maildir
		}
		r.person(u)
	}
}

// expand puts a user into a template (doc.dovecot.org, "Variables").
func expand(template, user, home string) string {
	local, domain, _ := strings.Cut(user, "@")
	if template == "~" || strings.HasPrefix(template, "~/") {
		template = home + template[1:]
	}
	return path.Clean(strings.NewReplacer("%u", user, "%n", local, "%d", domain, "%h", home, "%{user}", user,
		"%{user|username}", local, "%{user | username}", local, "%{user|domain}", domain, "%{user | domain}", domain, "%{home}", home).Replace(template))
}

// passwdFile reads the virtual users of a passdb that is a file: its lines are
// passwd's, with a scheme before the hash.
func (r *dovecotReading) passwdFile(args Setting, passwd []account, where string) ([]account, error) {
	words := strings.Fields(args.Value)
	if len(words) == 0 {
		return nil, nil
	}
	name := words[len(words)-1]
	data, err := r.fileWithin(name, maxUsers)
	if err != nil {
		return nil, err
	}
	static := r.static(passwd)
	var all []account
	for n, line := range numbered(data) {
		f := strings.Split(line, ":")
		if line == "" || line[0] == '#' {
			continue
		}
		all = append(all, r.passwdUser(f, static, where, Origin{name, n}))
	}
	if len(all) == 0 {
		r.host.note(args.Origin, false, "there are no users in %s", printable(name))
	}
	return all, nil
}

// passwdUser is a user of a passwd-file, of the fields of its line.
func (r *dovecotReading) passwdUser(f []string, static account, where string, o Origin) account {
	var extra []string // the eighth field has colons of its own
	if len(f) > 7 {
		extra = strings.Fields(strings.Join(f[7:], ":"))
	}
	f = append(f, make([]string, 8)...) // of one who is refused, the name alone may be there
	a := account{name: f[0], hash: withoutScheme(f[1]), uid: static.uid, gid: static.gid, home: f[5], origin: o}
	if a.home == "" {
		a.home = expand(static.home, a.name, "")
	}
	if uid, err := strconv.Atoi(f[2]); err == nil {
		a.uid = uid
	}
	mail := where
	for _, field := range extra {
		key, value, _ := strings.Cut(field, "=")
		ok := true
		switch key {
		case "nologin": // whatever its value
			a.left, a.shut = "it has nologin, by which Dovecot lets nobody in", true
		case "userdb_mail":
			var form string
			form, mail, _ = strings.Cut(value, ":")
			if mail, _, ok = strings.Cut(mail, ":"); form != "maildir" || mail == "" {
				a.left = "its mail is not kept in a Maildir: \"doveadm sync\" converts it"
			} else if ok {
				r.host.note(o, true, "%s: of userdb_mail the Maildir alone is taken over", printable(cut(a.name)))
			}
			ok = true
		case "userdb_quota_rule":
			a.limit, ok = ruleFields(value)
		default:
			ok = false
		}
		if !ok { // its value may be a password
			r.host.note(o, true, "%s: %s is not taken over", printable(cut(a.name)), printable(cut(key)))
		}
	}
	a.maildir = expand(strings.TrimSuffix(mail, "/"), a.name, a.home)
	return a
}

// ruleFields gives a rule of Dovecot's quota as fields of ours, which read the same in
// CUE and in JSON.
func ruleFields(rule string) (fields string, ok bool) {
	m := quotaRule.FindStringSubmatch(rule)
	if m == nil {
		return "", false
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil || n == 0 || n > maxQuota {
		return "", false
	}
	if m[1] == "messages" {
		return fmt.Sprintf(`"messages": %d`, n), true
	}
	return `"storage": ` + quote(fmt.Sprint(n)+binary(m[3])), true
}

// static is what a userdb gives every user.
func (r *dovecotReading) static(passwd []account) account {
	a := account{uid: -1, gid: -1}
	values := map[string]string{"uid": top(r.list, "mail_uid").Value, "gid": top(r.list, "mail_gid").Value, "home": top(r.list, "mail_home").Value}
	for _, section := range sections(r.list, "userdb") {
		_, args := driverOf(section)
		for _, word := range strings.Fields(args.Value) {
			if key, value, ok := strings.Cut(word, "="); ok {
				values[key] = value
			}
		}
	}
	for _, s := range r.list { // of 2.4
		if _, ok := s.within("fields"); ok && len(s.path) == 2 && strings.HasPrefix(s.path[0], "userdb") {
			values[s.name] = s.value
		}
	}
	a.home = values["home"]
	for _, p := range passwd {
		if p.name == values["uid"] || fmt.Sprint(p.uid) == values["uid"] {
			a.uid, a.gid = p.uid, p.gid
		}
	}
	return a
}

// withoutScheme takes {SCHEME} from a hash of the form that crypt(5) knows by itself.
func withoutScheme(hash string) string {
	if at := strings.Index(hash, "}$"); at > 0 && hash[0] == '{' {
		return hash[at+1:]
	}
	return hash
}

package adopt

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Host is a mail host as it was set up before.
type Host struct {
	Name   string
	Server string // "Courier-IMAP" or "Dovecot"

	Listeners    []Listener
	Certificates []Certificate
	Fields       []Field // of the host: namespace, expunge, ...
	Users        []*User // sorted by name
	Notes        []Note
	Units        []string // of systemd that serve IMAP now, as they are named
}

// Note is what becomes of an option that has no field of its own here, or what
// else should be known. Those that people may notice come first in the text.
type Note struct {
	Origin  Origin
	Text    string
	Noticed bool
}

// Field is a field of the host with its value, both as CUE.
type Field struct {
	Name, Value string
	Comment     string
}

// Listener is an address that was served.
type Listener struct {
	Name    string
	Address string // "": every one
	Port    int    // 0: the one that the name implies
	TLS     string // "": what the name implies
	Off     []string
	Proxy   *Proxy // nil: it served this host's mail
	Comment string
}

// Certificate is one that was served.
type Certificate struct {
	Name    string
	Names   []string // for which it is served; nil: its own name
	Lineage string   // of certbot's; "": from files
	File    string   // with the certificate
	Key     string
	Comment string
}

// User is somebody who could log in.
type User struct {
	Name     string
	Hash     string // of a virtual user; "": a system user
	UID, GID int
	Home     string
	Maildir  string // absolute
	Setting  string // the Maildir, where the description has to say it; "": it need not
	Origin   Origin
	Quota    string // fields of a quota in CUE and JSON; "": none
	Left     string // why the description leaves the user out; "" if it does not
	Shut     bool   // and the old server lets them in no more than we shall
	Mail     *Mail  // what was found there; nil: it was not looked at
}

func (h *Host) note(o Origin, noticed bool, format string, args ...any) {
	h.Notes = append(h.Notes, Note{o, fmt.Sprintf(format, args...), noticed})
}

// reading is the work of Read.
type reading struct {
	fsys    fs.FS
	host    *Host
	imap    Settings // what Courier's processes have in their environment
	maildir Setting  // MAILDIRPATH as /usr/sbin/imapd has it; imap has that of imapd-ssl
	auth    Settings
	proxy   Settings // nil: no imapproxy
	units   map[string]bool
}

// The files and directories that are read, relative to the root.
const (
	imapdFile     = "/etc/courier/imapd"
	imapdSSLFile  = "/etc/courier/imapd-ssl"
	authFile      = "/etc/courier/authdaemonrc"
	proxyFile     = "/etc/imapproxy.conf"
	userdbFile    = "/etc/courier/userdb"
	passwdFile    = "/etc/passwd"
	lineages      = "/etc/letsencrypt/live"
	enabledUnits  = "/etc/systemd/system/multi-user.target.wants"
	shippedUnits  = "/usr/lib/systemd/system"
	shippedUnits2 = "/lib/systemd/system"
)

// ErrNone says that the host has no server that could be taken over.
var ErrNone = errors.New("there is no Courier-IMAP here")

// ReadCourier reads the files of a Courier-IMAP from a host's root directory, and
// gives the folder, too, that Courier moves deleted mail to. The errors: ErrNone; a *SyntaxError; what keeps a file from being read.
func ReadCourier(fsys fs.FS, name string) (h *Host, trash string, err error) {
	r := &reading{fsys: fsys, host: &Host{Name: name, Server: "Courier-IMAP"}}
	if err := r.files(); err != nil {
		return nil, "", err
	}
	r.enabled()
	r.listeners()
	if err := r.certificates(); err != nil {
		return nil, "", err
	}
	r.fields()
	r.outcomes()
	if err := r.keptOut(); err != nil {
		return nil, "", err
	}
	if err := r.users(); err != nil {
		return nil, "", err
	}
	return r.host, r.trash(), nil
}

// trash is the folder that Courier moves deleted mail to, and keeps from being
// deleted itself.
func (r *reading) trash() string {
	if s := r.imap.Get("IMAP_TRASHFOLDERNAME"); s != "" {
		return s
	}
	return "Trash"
}

// file reads a file of the host; nil where there is none.
func (r *reading) file(name string) ([]byte, error) { return r.fileWithin(name, maxFile) }

// fileWithin reads a file of at most limit octets.
func (r *reading) fileWithin(name string, limit int) ([]byte, error) {
	data, err := fs.ReadFile(r.fsys, strings.TrimPrefix(name, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > limit {
		return nil, &SyntaxError{Origin{File: name}, fmt.Sprintf("the file is larger than %d MiB", limit>>20)}
	}
	return data, nil
}

// files reads what Courier and imapproxy go by.
func (r *reading) files() error {
	// What /usr/sbin/imapd sets before it reads them.
	r.imap = Settings{}
	for name, value := range map[string]string{"prefix": "/usr", "exec_prefix": "/usr", "sbindir": "/usr/sbin", "bindir": "/usr/bin"} {
		r.imap[name] = Setting{Name: name, Value: value}
	}
	found := false
	for _, name := range []string{imapdFile, imapdSSLFile} {
		data, err := r.file(name)
		if err == nil && data != nil {
			found = true
			err = readShell(name, data, r.imap)
		}
		if err != nil {
			return err
		}
		if r.maildir.Name == "" { // imapd reads its own file after the other
			r.maildir = r.imap["MAILDIRPATH"]
		}
	}
	if !found {
		return fmt.Errorf("%w: no %s", ErrNone, imapdFile)
	}
	data, err := r.file(authFile)
	if err == nil {
		r.auth, err = readAuthdaemonrc(authFile, data)
	}
	if err != nil {
		return err
	}
	if data, err = r.file(proxyFile); err == nil && data != nil {
		r.proxy, err = readImapproxy(proxyFile, data)
	}
	return err
}

// courierUnits are the units that serve IMAP, as Debian names them.
var courierUnits = []string{"courier-imap.service", "courier-imap-ssl.service", "imapproxy.service"}

// enabled finds out which units are started at boot. Where there is no directory
// of them, as in a copy of /etc/courier alone, all are taken to be.
func (r *reading) enabled() {
	r.units = map[string]bool{}
	entries, err := fs.ReadDir(r.fsys, strings.TrimPrefix(enabledUnits, "/"))
	for _, unit := range courierUnits {
		on := err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == unit })
		r.units[unit] = on
		for _, dir := range []string{shippedUnits, shippedUnits2} {
			if _, serr := fs.Stat(r.fsys, strings.TrimPrefix(path.Join(dir, unit), "/")); serr == nil && !slices.Contains(r.host.Units, unit) {
				r.host.Units = append(r.host.Units, unit)
			}
		}
		if !on && unit != "imapproxy.service" {
			r.host.note(Origin{File: enabledUnits + "/" + unit}, false, "is not there: the unit is not started at boot, and its listener is left out")
		}
	}
}

// fields are those of the host itself.
func (r *reading) fields() {
	h := r.host
	h.Fields = append(h.Fields, Field{"namespace", `"INBOX."`, "Courier has no other"})
	if s := r.imap["IMAP_MOVE_EXPUNGE_TO_TRASH"]; strings.HasPrefix(s.Value, "1") {
		h.Fields = append(h.Fields, Field{"expunge", `"trash"`, s.comment()})
	}
	s := r.imap["TLS_PRIORITY"]
	if strings.Contains(s.Value, "+VERS-TLS1.3") && !strings.Contains(s.Value, "+VERS-TLS1.2") && strings.Contains(s.Value, "-VERS-") {
		h.Fields = append(h.Fields, Field{"tls: policy", `"modern"`, s.comment()})
	} else if s.Value != "" {
		h.note(s.Origin, true, "%s: TLS 1.2 and 1.3 with current ciphers are served; clients that are older than that no more", s.assignment())
	}
	r.outbox()
	index := r.imap["IMAP_SHAREDINDEXFILE"]
	if data, err := r.file(index.Value); index.Value != "" && err == nil && len(strings.TrimSpace(string(data))) > 0 {
		h.Fields = append(h.Fields, Field{"sharing: virtual", "true", index.comment()})
	}
}

// outbox is the folder from which mail was sent.
func (r *reading) outbox() {
	folder := r.imap["OUTBOX"]
	if folder.Value == "" {
		return
	}
	add := func(name, value string, s Setting) {
		r.host.Fields = append(r.host.Fields, Field{"outbox: " + name, value, s.comment()})
	}
	add("folder", quote(strings.TrimPrefix(folder.Value, ".")), folder)
	for _, pair := range [][2]string{{"command", "SENDMAIL"}, {"header", "HEADERFROM"}} {
		name, option := pair[0], pair[1]
		if o, _ := find(imapd, option); r.imap[option].Name != "" && !o.usual(r.imap.Get(option)) {
			add(name, quote(r.imap.Get(option)), r.imap[option])
		}
	}
	if s := r.imap["OUTBOX_MULTIPLE_SEND"]; s.Value != "" && s.Value != "0" {
		add("multiple", "true", s)
	}
}

// assignment is a setting as it is told: NAME=VALUE, fit for a comment. A password
// is not told.
func (s Setting) assignment() string {
	if name := strings.ToLower(s.Name); strings.Contains(name, "passw") || strings.Contains(name, "secret") {
		return printable(s.Name) + "=(secret)"
	}
	return printable(s.Name + "=" + cut(s.Value))
}

// comment says where a value comes from.
func (s Setting) comment() string { return s.Origin.String() + " " + s.assignment() }

// outcomes notes what becomes of the options that are not as Debian ships them.
func (r *reading) outcomes() {
	for _, p := range programs {
		settings := r.imap
		switch p {
		case authdaemon:
			settings = r.auth
		case imapproxy:
			settings = r.proxy
		case mbsync, accounts:
			continue
		}
		for _, o := range table {
			s, set := settings[o.name]
			if o.program != p || !set || o.usual(s.Value) || o.outcome == Taken || p == imapdSSL && s.Origin.File == imapdFile {
				continue
			}
			r.host.note(s.Origin, o.outcome == Lost, "%s: %s", s.assignment(), o.why)
		}
	}
	// Debian's own value is noticed, too.
	if s := r.imap["IMAP_EMPTYTRASH"]; s.Origin.File != "" {
		o, _ := find(imapd, "IMAP_EMPTYTRASH")
		if o.usual(s.Value) {
			r.host.note(s.Origin, true, "%s: %s", s.assignment(), o.why)
		}
	}
	r.unknown()
}

// keptOut notes the first rule of makeimapaccess(8) in each file that refuses addresses.
func (r *reading) keptOut() error {
	s := r.imap["IMAPACCESSFILE"]
	if s.Value == "" {
		return nil
	}
	for _, name := range r.regular(s.Value) {
		data, err := r.file(name)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(data), "\n") {
			if _, rule, _ := strings.Cut(line, "\t"); !strings.HasPrefix(line, "#") && strings.HasPrefix(strings.ToLower(rule), "deny") {
				r.host.note(Origin{name, i + 1}, true, "%s: addresses that Courier refused may connect here: refuse them by the firewall, or give the listeners an address that they do not reach", printable(cut(line)))
				break
			}
		}
	}
	return nil
}

// regular gives the files of a directory, without hidden ones, or the file of that name.
func (r *reading) regular(name string) []string {
	entries, err := fs.ReadDir(r.fsys, strings.TrimPrefix(name, "/"))
	if err != nil {
		return []string{name}
	}
	var files []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, path.Join(name, e.Name()))
		}
	}
	return files
}

// unknown notes options that the table does not have.
func (r *reading) unknown() {
	for _, from := range []struct {
		settings Settings
		programs []program
	}{{r.imap, []program{imapd, imapdSSL, environment}}, {r.auth, []program{authdaemon}}, {r.proxy, []program{imapproxy}}} {
		for _, s := range from.settings.sorted() {
			known := s.Origin.File == "" || strings.HasPrefix(s.Name, "AUTHSERVICE")
			for _, p := range from.programs {
				_, ok := find(p, s.Name)
				known = known || ok
			}
			if !known {
				r.host.note(s.Origin, false, "%s: no option of the program is known by this name", s.assignment())
			}
		}
	}
}

// sorted gives the settings in the order in which they stand in their files.
func (s Settings) sorted() []Setting {
	list := make([]Setting, 0, len(s))
	for _, each := range s {
		list = append(list, each)
	}
	slices.SortFunc(list, func(a, b Setting) int {
		return strings.Compare(fmt.Sprintf("%s %8d %s", a.Origin.File, a.Origin.Line, a.Name), fmt.Sprintf("%s %8d %s", b.Origin.File, b.Origin.Line, b.Name))
	})
	return list
}

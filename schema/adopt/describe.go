package adopt

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"mailstead/schema"
)

// Description is a description as text: the host in CUE, which holds no secret,
// and where there are virtual users or very many, those in JSON beside it.
type Description struct {
	CUE   []byte
	Users []byte // nil: there are none in JSON
	Has   int    // how many users it has

	// What is left out with the reason, but for users whom the old server does not let in either.
	Left []string
}

// The names of the two files.
const (
	CUEName   = "mailstead.cue"
	UsersName = "users.json"
)

// maxInCUE is how many system users stand in CUE, each with a comment: CUE takes a
// second for some thousands, and JSON does not.
const maxInCUE = 500

// Check loads a description. The faults tell the lines that have to go.
type Check func(Description) schema.Diagnostics

// state is how much of an item is written.
type state int

const (
	whole state = iota
	bare        // without what it can do without
	left        // as a comment that says why
)

// item is a part of a description that can be left out.
type item struct {
	text    string // "alice: {...}", in one line or several
	bare    string // the same with less; "": there is no less
	comment string
	choices []string // why the special folders are those
	json    bool     // it stands in the users' file
	state   state
	why     string
	origin  string // file:line of a user
	shut    bool   // a user whom the old server does not let in either
}

// draft is a description in the making.
type draft struct {
	host *Host

	fields, listeners, certificates, policies, users []*item
	shared                                           map[string]string // the policy for what stands in one
	prefer                                           string
}

// Describe makes the description. What the schema refuses is left out, with the
// reason: the result loads, unless the error says why nothing could. trash is the
// folder that the server moved deleted mail to.
func (h *Host) Describe(trash string, check Check) (Description, error) {
	d := &draft{host: h, prefer: trash}
	d.build()
	for range 12 {
		text, lines := d.write()
		faults := check(text)
		if len(faults) == 0 {
			for _, i := range d.all() {
				if i.state != whole && !i.shut {
					text.Left = append(text.Left, i.name()+": "+i.because())
				}
			}
			for _, i := range d.users {
				if i.state != left {
					text.Has++
				}
			}
			return text, nil
		}
		if !d.leaveOut(faults, lines) {
			return text, fmt.Errorf("no description can be made: %w", faults)
		}
	}
	return Description{}, fmt.Errorf("no description of %s can be made that loads", quote(h.Name))
}

func (d *draft) all() []*item {
	return slices.Concat(d.fields, d.listeners, d.certificates, d.policies, d.users)
}

// leaveOut takes what has a fault out of the draft, and tells whether anything was.
func (d *draft) leaveOut(faults schema.Diagnostics, lines map[place]*item) bool {
	some := false
	seen := map[*item]bool{}
	for _, f := range faults {
		i := lines[place{strings.HasSuffix(f.Pos.File, UsersName), f.Pos.Line}]
		if i == nil || seen[i] || i.state == left {
			continue
		}
		seen[i], some = true, true
		i.why = printable(cut(strings.TrimPrefix(f.Message, f.Path+" ")))
		if i.state == whole && i.bare != "" {
			i.state = bare
		} else {
			i.state = left
		}
		if strings.HasPrefix(i.text, "mail: ") {
			d.homeless(i)
		}
	}
	return some
}

// homeless leaves out the virtual users when the description cannot say where
// their mail is: they would get other mailboxes, which are empty.
func (d *draft) homeless(mail *item) {
	for n, i := range d.users {
		if d.host.Users[n].Hash != "" && i.state != left {
			i.state, i.why = left, "it cannot be said where the mail is: "+mail.name()+" "+mail.why
		}
	}
}

func (d *draft) build() {
	for _, f := range d.host.Fields {
		d.fields = append(d.fields, &item{text: f.Name + ": " + f.Value, comment: f.Comment})
	}
	for _, l := range d.host.Listeners {
		d.listeners = append(d.listeners, &item{text: l.text(), comment: l.Comment})
	}
	for _, c := range d.host.Certificates {
		d.certificates = append(d.certificates, &item{text: c.text(), comment: c.Comment})
	}
	d.policyItems()
	system := 0
	for _, u := range d.host.Users {
		if u.Hash == "" {
			system++
		}
	}
	for _, u := range d.host.Users {
		d.users = append(d.users, d.user(u, system))
		if u.Mail != nil && u.Mail.Shared {
			d.host.note(u.Origin, true, "%s: the folders that shared-maildirs in the Maildir names (maildirmake --add) are not served", printable(cut(u.Name)))
		}
	}
}

func (l Listener) text() string {
	var parts []string
	if l.Address != "" {
		parts = append(parts, "address: "+quote(l.Address))
	}
	if l.Port != 0 {
		parts = append(parts, fmt.Sprintf("port: %d", l.Port))
	}
	if l.TLS != "" {
		parts = append(parts, "tls: "+quote(l.TLS))
	}
	if len(l.Off) > 0 {
		parts = append(parts, "capabilities: off: ["+quoted(l.Off)+"]")
	}
	if l.Proxy != nil {
		parts = append(parts, l.Proxy.text())
	}
	return label(l.Name) + ": {" + strings.Join(parts, ", ") + "}"
}

func (c Certificate) text() string {
	source := "files: {certificate: " + quote(c.File) + ", key: " + quote(c.Key) + "}"
	if c.Lineage != "" {
		source = "certbot: {}"
		if c.Lineage != c.Name {
			source = "certbot: lineage: " + quote(c.Lineage)
		}
	}
	if len(c.Names) == 0 || len(c.Names) == 1 && c.Names[0] == c.Name {
		return quote(c.Name) + ": " + source
	}
	return quote(c.Name) + ": {" + source + ", names: [" + quoted(c.Names) + "]}"
}

func quoted(list []string) string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = quote(s)
	}
	return strings.Join(all, ", ")
}

// key writes the name of one of the schema's fields, which JSON has in quotes.
func key(name string, json bool) string {
	if json {
		name = quote(name)
	}
	return name + ": "
}

// folders writes the special folders of a user as the fields of a struct.
func folders(list []chosen, json bool) string {
	var all []string
	for _, c := range list {
		text := quote(c.folder) + ": {" + key("use", json) + quote(c.use)
		if !c.subscribed {
			text += ", " + key("subscribe", json) + "false"
		}
		all = append(all, text+"}")
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

// policyItems makes a policy of each set of special folders that several users
// have. Folders of the host itself would be made for everybody.
func (d *draft) policyItems() {
	count := map[string]int{}
	for _, u := range d.host.Users {
		if u.Mail != nil && u.Left == "" {
			count[folders(u.Mail.choose(d.prefer), false)]++
		}
	}
	delete(count, "")
	var sets []string
	for set, n := range count {
		if n > 1 {
			sets = append(sets, set)
		}
	}
	slices.SortFunc(sets, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	d.shared = map[string]string{}
	for i, set := range sets {
		name := fmt.Sprintf("found-%d", i+1)
		d.shared[set] = name
		d.policies = append(d.policies, &item{text: quote(name) + ": folders: {" + set + "}", bare: quote(name) + ": {}",
			comment: fmt.Sprintf("%d users have these", count[set])})
	}
}

// user makes the item of a user, one line of CUE or of JSON.
func (d *draft) user(u *User, system int) *item {
	i := &item{json: u.Hash != "" || system > maxInCUE}
	var parts, extra []string
	if u.Hash != "" {
		parts = append(parts, key("password", true)+"{"+key("hash", true)+quote(u.Hash)+"}")
	}
	if u.Setting != "" {
		parts = append(parts, key("maildir", i.json)+quote(u.Setting))
	}
	if u.Quota != "" {
		parts = append(parts, key("quota", i.json)+"{"+u.Quota+"}")
	}
	i.origin = u.Origin.String()
	i.comment = i.origin
	if m := u.Mail; m != nil {
		list := m.choose(d.prefer)
		set := folders(list, false)
		if name, ok := d.shared[set]; ok {
			extra = append(extra, key("policy", i.json)+quote(name))
		} else if set != "" {
			extra = append(extra, key("folders", i.json)+"{"+folders(list, i.json)+"}")
		}
		i.comment += fmt.Sprintf("; %d folders, %d messages, %d subscriptions", len(m.Folders), m.messages(), len(m.Subscribed))
		if len(m.Odd) > 0 {
			i.comment += "; no folders: " + printable(cut(strings.Join(m.Odd, ", ")))
		}
		for _, c := range list {
			if c.why != "" {
				i.choices = append(i.choices, c.use+": "+printable(cut(c.why)))
			}
		}
	}
	name := label(u.Name)
	if i.json {
		name = quote(u.Name)
	}
	i.text = name + ": {" + strings.Join(append(parts, extra...), ", ") + "}"
	if len(extra) > 0 {
		i.bare = name + ": {" + strings.Join(parts, ", ") + "}"
	}
	if u.Left != "" {
		i.state, i.why, i.shut = left, u.Left, u.Shut
	}
	return i
}

// because is why an item is left out, and where it comes from.
func (i *item) because() string {
	if i.origin == "" {
		return i.why
	}
	return i.why + " (" + i.origin + ")"
}

// name is what an item is the field of.
func (i *item) name() string {
	name, _, _ := strings.Cut(i.text, ": {")
	return printable(cut(name))
}

package adopt

import (
	"fmt"
	"strings"
)

// place is a line of one of the two files.
type place struct {
	json bool
	line int
}

// writer writes CUE, and knows which line is whose.
type writer struct {
	b     strings.Builder
	depth int
	line  int
	json  bool
	items map[place]*item
}

func (w *writer) put(format string, args ...any) {
	w.line++
	text := fmt.Sprintf(format, args...)
	if text != "" {
		text = strings.Repeat("\t", w.depth) + text
	}
	w.b.WriteString(text + "\n")
}

func (w *writer) open(name string) {
	w.put("%s: {", name)
	w.depth++
}

func (w *writer) close() {
	w.depth--
	w.put("}")
}

// item writes an item, or as a comment why it is left out.
func (w *writer) item(i *item) {
	if i.state == left {
		w.put("// left out: %s: %s", i.name(), i.because())
		return
	}
	text := i.text
	if i.state == bare {
		w.put("// %s: without its folders: %s", i.name(), i.why)
		text = i.bare
	}
	w.items[place{w.json, w.line + 1}] = i
	if comment := append([]string{i.comment}, i.choices...); i.comment != "" {
		text += " // " + strings.Join(comment, "; ")
	}
	w.put("%s", text)
}

// items writes those that are there, and tells whether there are any.
func (w *writer) list(items []*item) bool {
	some := false
	for _, i := range items {
		w.item(i)
		some = some || i.state != left
	}
	return some
}

// write writes the draft, and gives the item of each line.
func (d *draft) write() (Description, map[place]*item) {
	w := &writer{items: map[place]*item{}}
	h := d.host
	w.put("// What this host served with %s, as \"mailstead adopt\" has read it. A value that is", h.Server)
	w.put("// not our default has the option that it comes from behind it. \"mailstead plan\" shows what")
	w.put("// would be changed, and writes nothing; \"mailstead cutover\" changes it.")
	d.notes(w)
	w.put("hosts: %s: {", quote(h.Name))
	w.depth++
	if w.list(d.fields); len(d.fields) > 0 {
		w.put("")
	}
	w.open("listeners")
	if !w.list(d.listeners) {
		w.put("imap: {} // nothing was found that could be listened on")
	}
	w.close()
	if d.tls() {
		w.put("")
		w.open("tls: certificates")
		if !w.list(d.certificates) {
			w.put("%s: selfSigned: {} // no certificate was found: clients will ask whether to trust it", quote(h.Name))
		}
		w.close()
	}
	if len(d.policies) > 0 {
		w.put("")
		w.put("// The special folders that users have: no folder is made that was not there.")
		w.open("policies")
		w.list(d.policies)
		w.close()
	}
	d.writeUsers(w)
	w.close()
	return Description{CUE: []byte(w.b.String()), Users: d.writeJSON(w.items)}, w.items
}

// tls tells whether a listener has TLS: a certificate that none serves is a fault.
func (d *draft) tls() bool {
	some := false
	for i, item := range d.listeners {
		if item.state != left {
			some = true
			if d.host.Listeners[i].TLS != "none" {
				return true
			}
		}
	}
	return !some
}

// notes writes what people may notice, and then the rest.
func (d *draft) notes(w *writer) {
	for _, noticed := range []bool{true, false} {
		head := "What has no meaning any more, or is so without being asked for:"
		if noticed {
			head = "What people may notice:"
		}
		seen := map[string]bool{}
		for _, n := range d.host.Notes {
			text := n.Text
			if n.Origin.File != "" {
				text = n.Origin.String() + " " + n.Text
			}
			if n.Noticed != noticed || seen[text] {
				continue
			}
			if len(seen) == 0 {
				w.put("//")
				w.put("// %s", head)
			}
			seen[text] = true
			w.put("//  - %s", printable(text))
		}
	}
}

// writeUsers writes the users that stand in CUE.
func (d *draft) writeUsers(w *writer) {
	inJSON := 0
	w.put("")
	w.open("users")
	for _, i := range d.users {
		switch {
		case !i.json || i.state == left:
			w.item(i)
			continue
		case i.state == bare:
			w.put("// %s: without its folders: %s", i.name(), i.why)
		}
		inJSON++
	}
	if inJSON > 0 {
		w.put("// and %d in %s", inJSON, UsersName)
		d.choices(w)
	}
	w.close()
}

// maxChoices is for how many users in JSON it is told what was chosen.
const maxChoices = 100

// choices tells why users in JSON, who can have no comment there, have the special
// folders that they have.
func (d *draft) choices(w *writer) {
	told := 0
	for _, i := range d.users {
		if !i.json || i.state != whole || len(i.choices) == 0 {
			continue
		}
		if told++; told > maxChoices {
			w.put("// and so on")
			return
		}
		w.put("// %s: %s", i.name(), strings.Join(i.choices, "; "))
	}
}

// writeJSON writes the others, one in each line.
func (d *draft) writeJSON(items map[place]*item) []byte {
	var b strings.Builder
	line := 1
	fmt.Fprintf(&b, "{\"hosts\": {%s: {\"users\": {\n", quote(d.host.Name))
	some := 0
	for _, i := range d.users {
		if !i.json || i.state == left {
			continue
		}
		if some > 0 {
			b.WriteString(",\n")
		}
		some++
		line++
		items[place{true, line}] = i
		text := i.text
		if i.state == bare {
			text = i.bare
		}
		b.WriteString(text)
	}
	if some == 0 {
		return nil
	}
	b.WriteString("\n}}}}\n")
	return []byte(b.String())
}

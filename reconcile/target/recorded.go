package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
)

// FactsFormat is the version of the file of facts, which docs/facts.md
// describes. A field may be added to it without a new version; none is removed
// or changes its meaning.
const FactsFormat = 1

// MaxFacts is the largest file of facts that is read, in octets: a host with
// 100,000 resources takes a fifth of it.
const MaxFacts = 256 << 20

// Recorded is a host as it was once found, so that a plan for it can be made
// anywhere. It holds no content and no secret: their digests are enough to
// compare.
type Recorded struct {
	FormatVersion int                             `json:"format_version"`
	Host          string                          `json:"host"` // its name in the description
	Made          time.Time                       `json:"made"`
	Program       string                          `json:"program"`
	Rootless      bool                            `json:"rootless,omitempty"`
	Facts         reconcile.Facts                 `json:"facts"`
	Sources       map[string]kind.CertificateSpec `json:"sources"`             // what Facts.Certificates were found for
	Inventory     *reconcile.Inventory            `json:"inventory,omitempty"` // nil: it could not be read
	Seen          []RecordedSeen                  `json:"seen"`
	byRef         map[reconcile.Ref]*RecordedSeen
}

// RecordedSeen is what was found of one resource.
type RecordedSeen struct {
	Ref   reconcile.Ref       `json:"ref"`
	Place map[string]string   `json:"place,omitempty"` // where it was looked for
	Have  *reconcile.Resource `json:"have,omitempty"`  // nil: nothing was there
	Error string              `json:"error,omitempty"` // why it is not known
	// Foreign is what looks as if somebody else had written it.
	Foreign *reconcile.Foreign `json:"foreign,omitempty"`
}

// given are the attributes that a kind's Observe gives back as they were asked
// for: places say where it looked, the others what it was not asked about.
var given = map[string]struct{ places, others []string }{
	"service-user": {nil, []string{"home"}},
	"maildir":      {[]string{"path", "home"}, nil},
	"folder":       {[]string{"path", "home"}, []string{"name"}},
	"certificate":  {[]string{"bundle", "stitched"}, []string{"source", "days", "certificate", "key"}},
	"unit":         {[]string{"path"}, []string{"service", "run"}},
	"daemon":       {[]string{"control"}, []string{"unit"}},
}

// Record gives a table of kinds that notes down what it finds.
func (r *Recorded) Record(table []reconcile.Kind) []reconcile.Kind {
	table = slices.Clone(table)
	for i := range table {
		observe := table[i].Observe
		table[i].Observe = func(ctx context.Context, asks []reconcile.Ask) []reconcile.Seen {
			found := observe(ctx, asks)
			for n, a := range asks {
				r.note(a, found[n])
			}
			return found
		}
	}
	return table
}

func (r *Recorded) note(ask reconcile.Ask, found reconcile.Seen) {
	s := RecordedSeen{Ref: ask.Ref, Foreign: found.Foreign}
	for _, name := range given[ask.Ref.Kind].places {
		if v := ask.Get(name); v != "" {
			if s.Place == nil {
				s.Place = map[string]string{}
			}
			s.Place[name] = v
		}
	}
	if found.Err != nil {
		s.Error = found.Err.Error()
	} else if found.Have != nil {
		have := found.Have.Brief()
		s.Have = &have
	}
	r.Seen = append(r.Seen, s)
}

// Table gives a table of kinds that finds what was recorded, and can change
// nothing.
func (r *Recorded) Table(table []reconcile.Kind) []reconcile.Kind {
	table = slices.Clone(table)
	for i, k := range table {
		table[i] = reconcile.Kind{Name: k.Name, Once: k.Once, Keep: k.Keep, Adopt: k.Adopt, Live: k.Live, DeleteFirst: k.DeleteFirst, In: k.In, HandsOn: k.HandsOn}
		table[i].Observe = func(_ context.Context, asks []reconcile.Ask) []reconcile.Seen {
			out := make([]reconcile.Seen, len(asks))
			for n, a := range asks {
				out[n] = r.find(a)
			}
			return out
		}
	}
	return table
}

// Knows tells whether anybody looked for a resource.
func (r *Recorded) Knows(ref reconcile.Ref) bool { return r.byRef[ref] != nil }

// find is what an Observe would have found. What nobody looked for is taken to
// be missing.
func (r *Recorded) find(ask reconcile.Ask) reconcile.Seen {
	s := r.byRef[ask.Ref]
	if s == nil {
		return reconcile.Seen{}
	}
	kept := given[ask.Ref.Kind]
	for _, name := range kept.places {
		if was := s.Place[name]; was != ask.Get(name) {
			return reconcile.Seen{Err: fmt.Errorf("the facts are about the %s %q", name, was)}
		}
	}
	if s.Error != "" {
		return reconcile.Seen{Err: errors.New(s.Error)}
	}
	if s.Have == nil {
		return reconcile.Seen{Foreign: s.Foreign}
	}
	have := &reconcile.Resource{Ref: ask.Ref, Origin: ask.Origin}
	for _, a := range s.Have.Attrs {
		i := slices.IndexFunc(ask.Attrs, func(w reconcile.Attr) bool { return w.Name == a.Name })
		switch {
		case i >= 0 && (slices.Contains(kept.places, a.Name) || slices.Contains(kept.others, a.Name)):
			a = ask.Attrs[i]
		case i >= 0:
			value := a.Value
			a = ask.Attrs[i]
			a.Value = value
		case slices.Contains(kept.others, a.Name):
			continue
		}
		have.Attrs = append(have.Attrs, a)
	}
	for _, a := range ask.Attrs { // facts of an earlier version do not tell of chains
		if ask.Ref == kind.DaemonRef() && strings.HasPrefix(a.Name, kind.ChainAttr) && have.Get(a.Name) == "" {
			have.Attrs = append(have.Attrs, a)
		}
	}
	return reconcile.Seen{Have: have, Foreign: s.Foreign}
}

// FactsFor gives the facts for what is to be known of the host now. A
// certificate whose source nobody looked at is one that may not be looked at.
func (r *Recorded) FactsFor(req Request) reconcile.Facts {
	f := r.Facts
	f.Certificates = maps.Clone(f.Certificates)
	for _, c := range req.Certificates {
		was, ok := r.Sources[c.Name]
		same := ok && was.Source == c.Source && was.Certificate == c.Certificate && was.Key == c.Key && slices.Equal(was.Names, c.Names)
		if !same && c.Source != kind.SelfSigned {
			if f.Certificates == nil {
				f.Certificates = map[string]reconcile.Certificate{}
			}
			known := f.Certificates[c.Name]
			f.Certificates[c.Name] = reconcile.Certificate{Unreadable: "the facts do not say what its source holds", Installed: known.Installed, InstalledChain: known.InstalledChain}
		}
	}
	return f
}

// ReadFacts reads recorded facts.
func ReadFacts(in io.Reader) (*Recorded, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxFacts+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFacts {
		return nil, fmt.Errorf("larger than %d MiB", MaxFacts>>20)
	}
	var r Recorded
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("not facts of a host: %w", err)
	}
	switch {
	case r.FormatVersion == 0 || r.Host == "":
		return nil, errors.New("not facts of a host: no format_version or no host")
	case r.FormatVersion != FactsFormat:
		return nil, fmt.Errorf("facts of format %d, and this program knows %d", r.FormatVersion, FactsFormat)
	}
	r.byRef = make(map[reconcile.Ref]*RecordedSeen, len(r.Seen))
	for i := range r.Seen {
		r.byRef[r.Seen[i].Ref] = &r.Seen[i]
	}
	return &r, nil
}

// The uids of people (Debian Policy §9.2.2).
const (
	firstPerson = 1000
	lastPerson  = 59999
)

// AddPeople adds the accounts of /etc/passwd that are people's, so that a
// description that lets one more of them in can be planned. Those of LDAP and
// the like are known if the description has them.
func AddPeople(f *reconcile.Facts) error {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return err
	}
	addPeople(f, string(passwd), string(group))
	return nil
}

func addPeople(f *reconcile.Facts, passwd, group string) {
	groups := map[string]string{}
	for line := range strings.Lines(group) {
		if all := strings.Split(line, ":"); len(all) > 2 {
			groups[all[2]] = all[0]
		}
	}
	for line := range strings.Lines(passwd) {
		all := strings.Split(strings.TrimSpace(line), ":")
		if len(all) < 7 {
			continue
		}
		uid, err := strconv.Atoi(all[2])
		gid, err2 := strconv.Atoi(all[3])
		if _, known := f.Accounts[all[0]]; known || err != nil || err2 != nil || uid < firstPerson || uid > lastPerson {
			continue
		}
		f.Accounts[all[0]] = reconcile.Account{UID: uid, GID: gid, Home: all[5], Group: groups[all[3]]}
	}
}

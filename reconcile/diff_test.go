package reconcile

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// line is a change in one line.
func line(c Change) string {
	return strings.Join([]string{string(c.Op), c.Ref.String(), string(c.Impact), c.Reason}, " | ")
}

func TestReasonAndImpact(t *testing.T) {
	r := func(attrs ...Attr) *Resource { return &Resource{Ref: Ref{"plain", "x"}, Attrs: attrs} }
	long := strings.Repeat("x", 81)
	for _, tc := range []struct {
		name       string
		have, want *Resource
		line       string
	}{
		{"missing", nil, r(Attr{Name: "mode", Value: "0700", Impact: Restart}), "create | plain/x | live | missing"},
		{"missing and to run", nil, r(Attr{Name: "content", Value: "c"}, Attr{Name: "active", Value: "yes", Impact: Restart, Runs: true}),
			"create | plain/x | restart | missing"},
		{"not running", nil, r(Attr{Name: "generation", Value: "1", Impact: Reload, Runs: true}), "action | plain/x | reload | not running"},
		{"one", r(Attr{Name: "mode", Value: "0755"}), r(Attr{Name: "mode", Value: "0700", Impact: Live}), "update | plain/x | live | mode 0755, want 0700"},
		{"the gravest", r(Attr{Name: "a", Value: "1"}, Attr{Name: "b", Value: "1"}),
			r(Attr{Name: "a", Value: "2", Impact: Rebind}, Attr{Name: "b", Value: "2", Impact: Reload}), "update | plain/x | rebind | a 1, want 2; b 1, want 2"},
		{"only what runs", r(Attr{Name: "c", Value: "1"}, Attr{Name: "gen", Value: "1"}),
			r(Attr{Name: "c", Value: "1"}, Attr{Name: "gen", Value: "2", Impact: Reload, Runs: true}), "action | plain/x | reload | gen 1, want 2"},
		{"content", r(Attr{Name: "content", Value: "a"}), r(Attr{Name: "content", Value: "b", Impact: Reload}), "update | plain/x | reload | content differs"},
		{"secret", r(Attr{Name: "hash", Value: "a"}), r(Attr{Name: "hash", Value: "b", Secret: true}), "update | plain/x | live | hash differs"},
		{"secret that is new", r(Attr{Name: "a", Value: "1"}), r(Attr{Name: "a", Value: "1"}, Attr{Name: "hash", Value: "b", Secret: true}), "update | plain/x | live | no hash"},
		{"secret that goes", r(Attr{Name: "hash", Value: "b", Secret: true}), r(), "update | plain/x | live | hash differs"},
		{"long", r(Attr{Name: "names", Value: long}), r(Attr{Name: "names", Value: "y"}), "update | plain/x | live | names differs"},
		{"digest", r(Attr{Name: "fingerprint", Value: strings.Repeat("0123456789abcdef", 4)}), r(Attr{Name: "fingerprint", Value: strings.Repeat("f", 32)}),
			"update | plain/x | live | fingerprint 0123456789ab, want ffffffffffff"},
		{"attribute that goes", r(Attr{Name: "left behind", Value: "/a", Impact: Live}), r(), "update | plain/x | live | left behind /a, want none"},
		{"attribute that comes", r(), r(Attr{Name: "reads", Value: "1", Impact: Restart}), "update | plain/x | restart | no reads, want 1"},
		{"hostile value", r(Attr{Name: "tree", Value: "\x1b[2J\n"}), r(Attr{Name: "tree", Value: ""}), `update | plain/x | live | tree "\x1b[2J\n", want ""`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := []Kind{{Name: "plain"}, {Name: "live", Live: true}}
			serving := Resource{Ref: Ref{"live", "daemon"}}
			seen := map[Ref]Seen{tc.want.Ref: {Have: tc.have}, serving.Ref: {Have: &serving}}
			p := Diff(Inputs{Host: "h", Table: table, Want: []Resource{*tc.want, serving}}, seen, nil)
			if len(p.Changes) != 1 {
				t.Fatalf("%d changes", len(p.Changes))
			}
			if got := line(p.Changes[0]); got != tc.line {
				t.Errorf("got  %s\nwant %s", got, tc.line)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{
		res("plain", "1", "x", "1"), res("plain", "2", "x", "1"), res("kept", "1", "x", "1"),
		res("unit", "1", "x", "1"), res("unit", "2", "x", "1"), res("live", "d", "x", "1"),
	}))
	p := m.compare(state, []Resource{
		res("live", "d", "x", "2"), res("unit", "3", "x", "1"), res("plain", "4", "x", "1"), res("plain", "3", "x", "1"),
	})
	var got []string
	for _, c := range p.Changes {
		got = append(got, string(c.Op)+" "+c.Ref.String())
	}
	want := []string{
		"create plain/4", "create plain/3", // as they are listed
		"delete unit/2", "delete unit/1", "create unit/3", // out of the way first
		"update live/d",
		"delete plain/2", "delete plain/1", // what others may have needed, last
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"no longer described and left as it is: kept 1"}, p.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestNobodyConnected(t *testing.T) {
	table := []Kind{{Name: "unit"}, {Name: "maildir"}, {Name: "daemon", Live: true}}
	unit := Resource{Ref: Ref{"unit", "s"}, Attrs: []Attr{{Name: "active", Value: "yes", Impact: Restart, Runs: true}, {Name: "c", Value: "1"}}}
	daemon := Resource{Ref: Ref{"daemon", "d"}, Attrs: []Attr{{Name: "generation", Value: "1", Impact: Reload, Runs: true}}}
	for _, tc := range []struct {
		name string
		seen Seen
		want Impact
	}{
		{"nothing serves", Seen{}, Live},
		{"something serves", Seen{Have: &daemon}, Restart},
		{"nobody can tell", Seen{Err: errInjected}, Restart},
	} {
		p := Diff(Inputs{Host: "h", Table: table, Want: []Resource{unit, daemon}}, map[Ref]Seen{daemon.Ref: tc.seen}, nil)
		if got := p.Changes[0].Impact; got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if got := Diff(Inputs{Host: "h", Table: table, Want: []Resource{unit}}, nil, nil).Changes[0].Impact; got != Restart {
		t.Errorf("it is not ours to know: %s", got)
	}
}

func TestBlocked(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	cert := res("plain", "certificate", "x", "1")
	m.mustApply(state, m.compare(state, []Resource{cert}))
	cert.Blocked = &Block{Reason: "no lineage", Command: "certbot certonly"}
	socket := res("unit", "imap", "x", "1")
	socket.Needs = []Ref{cert.Ref}
	daemon := res("live", "d", "x", "1")
	daemon.Needs = []Ref{socket.Ref}
	p := m.compare(state, []Resource{daemon, socket, cert, res("plain", "free", "x", "1")})
	want := []Waiting{
		{Ref: cert.Ref, Origin: "host.cue:1:1", Reason: "no lineage", Command: "certbot certonly"},
		{Ref: socket.Ref, Origin: "host.cue:1:1", Reason: "waits for plain/certificate"},
		{Ref: daemon.Ref, Origin: "host.cue:1:1", Reason: "waits for unit/imap"},
	}
	if diff := cmp.Diff(want, p.Blocked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(p.Changes) != 1 || p.Changes[0].Ref.Name != "free" {
		t.Errorf("changes: %+v", p.Changes)
	}
	if err := m.mustApply(state, p).Err(); err != nil {
		t.Error(err)
	}
	if _, ok := m.have[cert.Ref]; !ok {
		t.Error("what waits was removed")
	}
}

func TestUnreadable(t *testing.T) {
	want := []Resource{res("plain", "a", "x", "1"), res("plain", "b", "x", "1"), res("plain", "c", "x", "1")}
	want[1].Unreadable = "permission denied (needs root)"
	table := []Kind{{Name: "plain"}}
	p := Diff(Inputs{Host: "h", Table: table, Want: want}, map[Ref]Seen{{"plain", "a"}: {Err: errInjected}}, nil)
	if diff := cmp.Diff([]Unread{
		{Ref{"plain", "a"}, "host.cue:1:1", "injected"},
		{Ref{"plain", "b"}, "host.cue:1:1", "permission denied (needs root)"},
	}, p.Unreadable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(p.Changes) != 1 {
		t.Errorf("changes: %+v", p.Changes)
	}
	r := &Report{Unreadable: p.Unreadable}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "plain/a: not compared: injected") {
		t.Errorf("an apply that left something unread ends with %v", err)
	}
}

func TestMovedMail(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	mail := func(path string) Resource {
		return Resource{Ref: Ref{"kept", "alice"}, Attrs: []Attr{{Name: "path", Value: path, Impact: Data}}}
	}
	m.mustApply(state, m.compare(state, []Resource{mail("/old")}))
	delete(m.have, Ref{"kept", "alice"}) // nothing at the new place
	p := m.compare(state, []Resource{mail("/new")})
	if got, want := line(p.Changes[0]), "create | kept/alice | data | missing; path was /old"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	m.have[Ref{"kept", "alice"}] = mail("/new") // somebody has moved it
	p = m.compare(state, []Resource{mail("/new")})
	if len(p.Changes) != 0 || len(p.Record) != 1 {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff([]string{"kept/alice: path was /old and is now /new; what is there stays"}, p.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestRemovalOfWhatSomebodyChanged(t *testing.T) {
	m := newMemory(t)
	state := memoryDir(t)
	m.mustApply(state, m.compare(state, []Resource{res("plain", "a", "content", "1")}))
	m.have[Ref{"plain", "a"}] = res("plain", "a", "content", "2")
	p := m.compare(state, nil)
	if got, want := line(p.Changes[0]), "delete | plain/a | live | no longer in the description; changed by someone else since it was applied"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWantedTwice(t *testing.T) {
	m := newMemory(t)
	for want, list := range map[string][]Resource{
		"compare plain/a: asked for twice, at host.cue:1:1 and host.cue:1:1": {res("plain", "a"), res("plain", "a")},
		"compare strange/a: no such kind":                                    {res("strange", "a")},
	} {
		_, err := Compare(t.Context(), Inputs{Want: list, Table: m.table()})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPlanJSONHidesSecrets(t *testing.T) {
	const secret = "$argon2id$v=19$m=65536$abc"
	file := func(content string) *Resource {
		return &Resource{Ref: Ref{"password-file", "/x"}, Attrs: []Attr{{Name: "content", Value: content, Secret: true}}}
	}
	p := &Plan{Changes: []Change{{Have: file("old " + secret), Want: file(secret)}}, Record: []Resource{*file(secret)}}
	for name, v := range map[string]any{"plain": p, "masked": p.Masked([]byte("key")), "resource": file(secret)} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "argon2id") {
			t.Errorf("%s: %s", name, data)
		}
		if name == "plain" && strings.Contains(string(data), keyedPrefix) {
			t.Errorf("%s: a digest without a key: %s", name, data)
		}
	}
	digest := func(key string) string { return p.Masked([]byte(key)).Changes[0].Want.Get("content") }
	first, again, other := digest("a"), digest("a"), digest("b")
	if first == other || first != again || !isKeyed(first) {
		t.Errorf("digests: %s, %s, with another key %s", first, again, other)
	}
	if p.Changes[0].Want.Get("content") != secret {
		t.Error("masking changed the plan itself")
	}
}

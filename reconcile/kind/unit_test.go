package kind

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile"
)

const imapd = "mailstead-imapd.service"

// unitFor makes a wanted unit; a socket belongs to the daemon.
func unitFor(dir, name, content string, run Run) reconcile.Resource {
	u := UnitSpec{Name: name, Path: dir + "/" + name, Content: []byte(content), Enable: true, Run: run}
	if strings.HasSuffix(name, ".socket") {
		u.Service = imapd
	}
	return Unit(u, "host.cue:1:1")
}

// as gives a resource as found, with other values.
func as(r reconcile.Resource, pairs ...string) *reconcile.Resource {
	have := found(r)
	for i := 0; i < len(pairs); i += 2 {
		value{pairs[i], pairs[i+1], reconcile.Live}.put(have)
	}
	return have
}

func create(r reconcile.Resource) reconcile.Change {
	return reconcile.Change{Ref: r.Ref, Op: reconcile.Create, Want: &r}
}

func update(r reconcile.Resource, have ...string) reconcile.Change {
	return reconcile.Change{Ref: r.Ref, Op: reconcile.Update, Want: &r, Have: as(r, have...)}
}

func remove(r reconcile.Resource) reconcile.Change {
	return reconcile.Change{Ref: r.Ref, Op: reconcile.Delete, Have: as(r)}
}

func TestOutdated(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, tc := range map[string]struct {
		since, written time.Time
		want           bool
	}{
		"started after":  {now.Add(-time.Minute), now.Add(-time.Hour), false},
		"written after":  {now.Add(-time.Hour), now.Add(-time.Minute), true},
		"in the future":  {now.Add(-time.Hour), now.Add(time.Hour), false},
		"time not known": {time.UnixMicro(0), now.Add(-time.Minute), false},
	} {
		if got := outdated(tc.since, tc.written, now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPlanUnits(t *testing.T) {
	const dir = "/etc/systemd/system"
	service := unitFor(dir, imapd, "S", Up)
	imap := unitFor(dir, "mailstead-imap.socket", "143", Up)
	imaps := unitFor(dir, "mailstead-imaps.socket", "993", Up)
	boot := unitFor(dir, "mailstead-apply.service", "A", Either)
	down := imap
	down.Attrs = Unit(UnitSpec{Name: "mailstead-imap.socket", Path: dir + "/mailstead-imap.socket", Content: []byte("143"), Run: Down, Service: imapd}, "").Attrs
	running := map[string]unitState{
		imapd:                    {active: true, enabled: true, triggeredBy: []string{"mailstead-imap.socket", "mailstead-imaps.socket"}},
		"mailstead-imap.socket":  {active: true, enabled: true},
		"mailstead-imaps.socket": {active: true, enabled: true},
	}
	onlyIMAP := map[string]unitState{
		imapd:                   {active: true, enabled: true, triggeredBy: []string{"mailstead-imap.socket"}},
		"mailstead-imap.socket": {active: true, enabled: true},
	}
	listening := map[string]unitState{"mailstead-imap.socket": {active: true, enabled: true}, "mailstead-imaps.socket": {active: true, enabled: true}}
	for _, tc := range []struct {
		name    string
		changes []reconcile.Change
		states  map[string]unitState
		boot    bool
		want    string
	}{
		{"a new host", []reconcile.Change{create(imap), create(imaps), create(service), create(boot)}, nil, false, `
			enable mailstead-imap.socket
			enable mailstead-imaps.socket
			enable mailstead-imapd.service
			enable mailstead-apply.service
			daemon-reload
			start mailstead-imap.socket
			start mailstead-imaps.socket
			start mailstead-imapd.service`},
		{"a listener more", []reconcile.Change{create(imaps)}, onlyIMAP, false, `
			stop mailstead-imap.socket
			stop mailstead-imapd.service
			enable mailstead-imaps.socket
			daemon-reload
			start mailstead-imap.socket
			start mailstead-imaps.socket
			start mailstead-imapd.service`},
		{"a listener moves", []reconcile.Change{update(imaps, "content", "994")}, running, false, `
			stop mailstead-imap.socket
			stop mailstead-imaps.socket
			stop mailstead-imapd.service
			daemon-reload
			start mailstead-imap.socket
			start mailstead-imaps.socket
			start mailstead-imapd.service`},
		{"a listener goes, and the service with its list changes", []reconcile.Change{remove(imaps), update(service, "content", "old")}, running, false, `
			stop mailstead-imap.socket
			stop mailstead-imaps.socket
			stop mailstead-imapd.service
			disable mailstead-imaps.socket
			remove mailstead-imaps.socket
			daemon-reload
			start mailstead-imap.socket
			start mailstead-imapd.service`},
		{"a listener is to stay down", []reconcile.Change{update(down, "active", "yes", "enabled", "yes")}, running, false, `
			stop mailstead-imap.socket
			stop mailstead-imaps.socket
			stop mailstead-imapd.service
			disable mailstead-imap.socket
			daemon-reload
			start mailstead-imaps.socket
			start mailstead-imapd.service`},
		{"another program", []reconcile.Change{update(service, "content", "old")}, running, false, `
			daemon-reload
			restart mailstead-imapd.service`},
		{"a crash before the restart", []reconcile.Change{update(service, "running", unitOutdated)}, running, false, `
			restart mailstead-imapd.service`},
		{"a crash before the reload", []reconcile.Change{update(service, "loaded", unitOutdated)}, running, false, `
			daemon-reload`},
		{"the service has died", []reconcile.Change{update(service, "active", "no")}, listening, false, `
			start mailstead-imapd.service`},
		{"a wrong mode", []reconcile.Change{update(service, "mode", "0600")}, running, false, `
			daemon-reload`},
		{"not enabled", []reconcile.Change{update(service, "enabled", "no")}, running, false, `
			enable mailstead-imapd.service
			daemon-reload`},
		{"one that runs by itself changes", []reconcile.Change{update(boot, "content", "old")}, running, false, `
			daemon-reload`},
		{"at boot a listener has moved", []reconcile.Change{update(imaps, "content", "994"), update(service, "active", "no", "content", "old")}, listening, true, `
			stop mailstead-imaps.socket
			daemon-reload
			start mailstead-imaps.socket
			start mailstead-imapd.service (not waited for)`},
		{"the socket of a service that is down", []reconcile.Change{create(imaps)}, map[string]unitState{"mailstead-imap.socket": {active: true}}, false, `
			enable mailstead-imaps.socket
			daemon-reload
			start mailstead-imaps.socket`},
		{"everything goes", []reconcile.Change{remove(boot), remove(service), remove(imaps), remove(imap)}, running, false, `
			stop mailstead-imap.socket
			stop mailstead-imaps.socket
			stop mailstead-imapd.service
			disable mailstead-apply.service
			remove mailstead-apply.service
			disable mailstead-imapd.service
			remove mailstead-imapd.service
			disable mailstead-imaps.socket
			remove mailstead-imaps.socket
			disable mailstead-imap.socket
			remove mailstead-imap.socket
			daemon-reload`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got strings.Builder
			for _, s := range planUnits(tc.changes, tc.states, tc.boot) {
				got.WriteString("\n\t\t\t" + strings.TrimSpace(string(s.verb)+" "+s.unit))
				if !s.wait {
					got.WriteString(" (not waited for)")
				}
			}
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestObserveUnit(t *testing.T) {
	b := newBench(t)
	want := unitFor(b.dir, imapd, "[Service]\n", Up)
	look := func(st unitState) string {
		t.Helper()
		have, err := observeUnit(t.Context(), reconcile.Ask{Resource: want}, st)
		b.must(err)
		if have == nil {
			return "nothing"
		}
		p := reconcile.Diff(reconcile.Inputs{Table: []reconcile.Kind{{Name: "unit"}, {Name: "daemon", Live: true}}, Want: []reconcile.Resource{want, {Ref: DaemonRef()}}},
			map[reconcile.Ref]reconcile.Seen{want.Ref: {Have: have}, DaemonRef(): {Have: &reconcile.Resource{}}}, nil)
		if len(p.Changes) == 0 {
			return "as wanted"
		}
		return string(p.Changes[0].Op) + " " + string(p.Changes[0].Impact) + ": " + p.Changes[0].Reason
	}
	check := func(st unitState, want string) {
		t.Helper()
		if got := look(st); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	path := want.Get("path")
	now := time.Now()
	up := unitState{enabled: true, active: true, since: now.Add(time.Hour)}
	check(up, "nothing")
	b.must(os.WriteFile(path, []byte("[Service]\n"), 0o644))
	check(up, "as wanted")
	check(unitState{active: true, since: up.since}, "update live: enabled no, want yes")
	check(unitState{enabled: true}, "action live: active no, want yes")
	check(unitState{enabled: true, active: true, since: now.Add(-time.Hour)}, "action restart: running outdated, want current")
	check(unitState{enabled: true, active: true, since: up.since, stale: true}, "action live: loaded outdated, want current")
	b.must(os.WriteFile(path, []byte("[Service]\nUser=x\n"), 0o644))
	check(up, "update restart: content differs")
	b.must(os.Remove(path))
	b.must(os.Symlink("/dev/null", path))
	if _, err := observeUnit(t.Context(), reconcile.Ask{Resource: want}, up); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a masked unit: %v", err)
	}
}

func TestUnitReads(t *testing.T) {
	b := newBench(t)
	unit := func(reads string) reconcile.Resource {
		return Unit(UnitSpec{Name: imapd, Path: b.path(imapd), Content: []byte("[Service]\n"), Run: Up, Enable: true, Reads: reads}, "")
	}
	up := unitState{enabled: true, active: true, since: time.Now().Add(time.Hour)}
	for _, reads := range []string{"1", "2", ""} {
		want := unit(reads)
		have, err := observeUnit(t.Context(), reconcile.Ask{Resource: want}, up)
		b.must(err)
		c := reconcile.Change{Ref: want.Ref, Want: &want, Have: have}
		if have != nil && fileRight(c) {
			t.Errorf("reads %q is not seen to differ", reads)
		}
		if have != nil && !renewed(c) {
			t.Errorf("reads %q asks for no restart", reads)
		}
		b.must(b.host.applyUnit(t.Context(), c))
		have, err = observeUnit(t.Context(), reconcile.Ask{Resource: want}, up)
		b.must(err)
		if c.Have = have; !fileRight(c) || renewed(c) {
			t.Errorf("reads %q is not in place: %+v", reads, have)
		}
	}
	if got := b.content(b.path(imapd)); got != "[Service]\n" {
		t.Errorf("content %q", got)
	}
	if content, reads := splitUnitFile("[Service]\n" + readsMark + "1\n# added by hand\n"); content != "[Service]\n# added by hand\n" || reads != "1" {
		t.Errorf("a line added by hand: content %q, reads %q", content, reads)
	}
}

func TestUnitMoves(t *testing.T) {
	b := newBench(t)
	b.must(os.Mkdir(b.path("old"), 0o755))
	b.must(os.Mkdir(b.path("new"), 0o755))
	old, want := unitFor(b.path("old"), imapd, "x", Up), unitFor(b.path("new"), imapd, "x", Up)
	b.must(b.host.applyUnit(t.Context(), create(old)))
	b.must(b.host.applyUnit(t.Context(), create(want)))
	ask := reconcile.Ask{Resource: want, Was: []reconcile.Resource{old}}
	have, err := observeUnit(t.Context(), ask, unitState{})
	b.must(err)
	if have.Get("left behind") != b.path("old", imapd) {
		t.Errorf("the old file is not seen: %+v", have)
	}
	b.must(b.host.applyUnit(t.Context(), reconcile.Change{Ref: want.Ref, Want: &want, Have: have, Was: ask.Was}))
	if _, err := os.Stat(b.path("old", imapd)); !os.IsNotExist(err) {
		t.Errorf("the old file is still there: %v", err)
	}
}

func TestUnitNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"mailstead-imapd.service": true, "mailstead-login@imap.service": true,
		"x": false, "../x.service": false, "a b.service": false, "a%n.service": false, "-x.service": false, "a\n.service": false, ".service": false,
	} {
		err := checkUnit(reconcile.Resource{Ref: UnitRef(name), Attrs: []reconcile.Attr{{Name: "path", Value: "/etc/systemd/system/" + name}}})
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	if checkUnit(reconcile.Resource{Ref: UnitRef("a.service"), Attrs: []reconcile.Attr{{Name: "path", Value: "/etc/passwd"}}}) == nil {
		t.Error("a unit may be written to any path")
	}
}

// TestUnitsWithoutSystemd: where there is none, its units cannot be compared,
// so nothing happens to their files either.
func TestUnitsWithoutSystemd(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs here")
	}
	b := newBench(t)
	got := b.plan(unitFor(b.dir, imapd, "x", Up))
	if len(got) != 1 || !strings.HasPrefix(got[0], "unreadable unit/mailstead-imapd.service: connect to systemd: ") {
		t.Errorf("plan: %q", got)
	}
	if v, err := b.host.SystemdVersion(t.Context()); v != 0 || err != nil {
		t.Errorf("version %d, %v", v, err)
	}
}

// TestPortTaken: nobody's session ends for a listener that cannot come up.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	who := fmt.Sprintf("port %s is taken by process %d (", port, os.Getpid())
	if got := portTaken(taken, imapd); !strings.HasPrefix(got, who) {
		t.Errorf("got %q, want %q", got, who)
	}
	if got := portTaken("203.0.113.77:143", imapd); got != "" {
		t.Errorf("an address of another host: %q", got)
	}
	other := unitFor("/u", "mailstead-imaps.socket", "[Socket]\nListenStream="+taken+"\n", Up)
	service := unitFor("/u", imapd, "new", Up)
	boot := unitFor("/u", "mailstead-apply.service", "new", Either)
	changes := []reconcile.Change{create(other), update(service, "content", "old"), update(boot, "content", "old")}
	for _, tc := range []struct {
		name   string
		states map[string]unitState
		own    string // content of a socket of ours that gives the port up
		want   []string
	}{
		{"the service runs", map[string]unitState{imapd: {active: true}}, "", []string{who, imapd + " goes on as it runs, because mailstead-imaps.socket cannot start", ""}},
		{"the service is down", nil, "", []string{who, "", ""}},
		{"the port is our own", map[string]unitState{imapd: {active: true}, "mailstead-old.socket": {active: true}}, "ListenStream=" + taken, []string{"", "", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := changes
			if tc.own != "" {
				all = append(slices.Clone(changes), remove(unitFor("/u", "mailstead-old.socket", tc.own, Up)))
			}
			errs := make([]error, len(all))
			var h Host
			free := h.held(all, tc.states, errs)
			held := 0
			for i, want := range tc.want {
				if want != "" {
					held++
				}
				if want == "" && errs[i] != nil || want != "" && (errs[i] == nil || !strings.HasPrefix(errs[i].Error(), want)) {
					t.Errorf("%s: got %v, want %q", all[i].Ref, errs[i], want)
				}
			}
			if len(free) != len(all)-held {
				t.Errorf("%d of %d changes go on, and %d are held", len(free), len(all), held)
			}
		})
	}
}

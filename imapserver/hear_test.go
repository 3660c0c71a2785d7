package imapserver

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// TestLyingWorker: what a worker says of the mail of other uids is not recorded, what it
// says of its own is cut to size, and what is no JSON does no harm; nobody but its own
// users is punished for its faults.
func TestLyingWorker(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "removals")
	var faults []string
	h := newHearing(slog.New(slog.DiscardHandler), dir, func(user string, _ netip.Addr) { faults = append(faults, user) })
	defer h.close()
	own := func(user string) bool { return user == "alice" }
	for _, data := range []string{"", "[]", `{"removals":7}`} {
		h.hear([]byte(data), own)
	}
	data, err := json.Marshal(told{
		Removals: []control.Removal{{User: "bob", UID: 1}, {User: "alice", UID: 2, Client: strings.Repeat("x", 9000)}, {UID: 3}},
		Lost:     2,
		Faults:   []fault{{User: "bob"}, {User: "alice"}},
		Counts:   []metrics.Series{{Name: metrics.Rebuilds, Sum: 1}, {Name: "made_up", Sum: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.hear(data, own)
	all := removalsIn(t, dir, 1)
	if len(all) != 1 || all[0].User != "alice" || all[0].UID != 2 || len(all[0].Client) != maxRecorded {
		t.Errorf("%+v", all)
	}
	if !slices.Equal(faults, []string{"alice"}) {
		t.Errorf("faults of the sessions of %q", faults)
	}
	if n := numbers(h.counts.List()); len(n) != 2 || n[metrics.Rebuilds] != 1 || n[metrics.Unrecorded] != 2 {
		t.Errorf("%v", n)
	}
}

// TestLyingAnswer: of the sessions of one user, a worker tells nothing of another's.
func TestLyingAnswer(t *testing.T) {
	dir := t.TempDir()
	p := startParted(t, partedConfig(dir), partedUser(t, dir, "alice", 61101))
	c, _ := p.login("imaps")
	p.claim(c, p.ask(c, "one", "alice", "pw-alice").Ticket) // and there is a spawn
	done := make(chan []control.Connection)
	go func() {
		done <- p.Parted.spawn.look(t.Context(), &handoff.Look{UID: 61101, GID: 61101, User: "alice"})
	}()
	for m := range p.told {
		l, ok := m.(*handoff.Look)
		if !ok || l.Follow {
			continue
		}
		if l.UID != 61101 || l.GID != 61101 {
			t.Errorf("%+v", l)
		}
		worker, err := handoff.NewConn(l.Answer)
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"bob", "alice"} {
			session, _ := json.Marshal(control.Connection{ID: "x", User: user, Doing: &control.Activity{}})
			worker.Send(&handoff.Doing{Session: session})
		}
		worker.Send(&handoff.Doing{Session: []byte(`7`)})
		worker.Close()
		break
	}
	if all := <-done; len(all) != 1 || all[0].User != "alice" {
		t.Errorf("%+v", all)
	}
}

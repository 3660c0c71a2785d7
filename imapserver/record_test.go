package imapserver

import (
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/metrics"
)

// recorded gives the lines of a record, by file.
func recorded(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		st, serr := f.Info()
		if err != nil || serr != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v %v %v", f.Name(), st, err, serr)
		}
		lines[f.Name()] = strings.Count(string(data), "\n")
	}
	return lines
}

// TestRecord: a day is a file, what is old goes, and there is never more than so much.
func TestRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "removals")
	missed := 0
	r := newRecord(slog.New(slog.DiscardHandler), dir, func(n int) { missed += n })
	defer r.close()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 23, 0, 0, 0, time.UTC) }
	one := []control.Removal{{User: "alice", Mailbox: "INBOX", UID: 7, MessageID: "<a@b>"}}
	for n := 1; n <= recordDays+10; n++ {
		r.add(one, day(n))
		r.add(one, day(n))
	}
	have := recorded(t, dir)
	if len(have) != recordDays+1 || have["2026-03-11.ndjson"] != 2 || have["2026-01-10.ndjson"] != 2 || have["2026-01-09.ndjson"] != 0 {
		t.Errorf("%v", have)
	}
	r.max = 2000 // twenty lines or so
	for range 10 {
		r.add(one, day(recordDays+10))
	}
	if have = recorded(t, dir); len(have) > 20 || have["2026-03-11.ndjson"] != 12 || missed != 0 {
		t.Errorf("%v, missed %d", have, missed)
	}
	for range 100 {
		r.add(one, day(recordDays+10))
	}
	if have = recorded(t, dir); len(have) != 1 || have["2026-03-11.ndjson"] > 30 || have["2026-03-11.ndjson"]+missed != 112 {
		t.Errorf("%v, missed %d", have, missed)
	}
}

// TestRecordFair: whose removals are very many push out their own lines, the oldest first,
// and nobody else's, be it on one day or on many.
func TestRecordFair(t *testing.T) {
	dir := t.TempDir()
	missed := 0
	r := newRecord(slog.New(slog.DiscardHandler), dir, func(n int) { missed += n })
	defer r.close()
	r.max = 20_000
	day := func(n int) time.Time { return time.Date(2026, 1, n, 23, 0, 0, 0, time.UTC) }
	wrote, uid := 0, uint32(0)
	flood := func(n, times int) {
		for range times {
			some := make([]control.Removal, 10)
			for i := range some {
				uid++
				some[i] = control.Removal{At: day(n), User: "mallory", Mailbox: "INBOX", UID: uid}
			}
			r.add(some, day(n))
			wrote += len(some)
		}
	}
	for n := 1; n <= 10; n++ {
		r.add([]control.Removal{{At: day(n), User: "alice", Mailbox: "INBOX", UID: uint32(n)}}, day(n))
		flood(n, 5)
		r.add([]control.Removal{{At: day(n), User: "bob", Mailbox: "INBOX", UID: uint32(n)}}, day(n))
	}
	if missed != 0 {
		t.Errorf("%d missed of days on which there was room", missed)
	}
	if have := recorded(t, dir); have["2026-01-01.ndjson"] != 2 || len(have) != 10 {
		t.Errorf("%v", have)
	}
	flood(11, 200)
	r.add([]control.Removal{{At: day(11), User: "alice", Mailbox: "INBOX", UID: 11}}, day(11))

	of := map[string][]uint32{}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	var size int64
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
		if err := eachLine(f, func(user string, line []byte) error {
			var one control.Removal
			err := json.Unmarshal(line, &one)
			of[user] = append(of[user], one.UID)
			return err
		}); err != nil {
			t.Error(f, err)
		}
	}
	if len(of["alice"]) != 11 || len(of["bob"]) != 10 {
		t.Errorf("%d lines of one who has few, %d of the other", len(of["alice"]), len(of["bob"]))
	}
	if n := len(of["mallory"]); n < 100 || n+missed != 2000 || of["mallory"][0] != uint32(wrote-n+1) || of["mallory"][n-1] != uint32(wrote) {
		t.Errorf("%d of the other, from %d to %d; %d missed", n, of["mallory"][0], of["mallory"][n-1], missed)
	}
	if len(of) != 3 || size > r.max || len(recorded(t, dir)) != 11 {
		t.Errorf("%v, %d octets", recorded(t, dir), size)
	}
}

func TestFairShare(t *testing.T) {
	for _, c := range []struct{ room, want int64 }{{100, math.MaxInt64}, {60, math.MaxInt64}, {59, 39}, {50, 30}, {31, 11}, {25, 8}, {0, 0}} {
		if got := fairShare([]int64{1, 9, 10, 40}, c.room); got != c.want {
			t.Errorf("in %d octets each may have %d, not %d", c.room, got, c.want)
		}
	}
}

// TestRecordStuck: a record that is full and cannot be thinned is not looked through for
// each line.
func TestRecordStuck(t *testing.T) {
	dir := t.TempDir()
	missed := 0
	r := newRecord(slog.New(slog.DiscardHandler), dir, func(n int) { missed += n })
	defer r.close()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	next := filepath.Join(dir, recordNext)
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	add := func(now time.Time) { r.add([]control.Removal{{User: "alice", Mailbox: "INBOX", UID: 7}}, now) }
	for range 10 {
		add(now)
	}
	st, err := r.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r.max = st.Size()
	add(now)
	if err := os.Remove(next); err != nil {
		t.Fatal(err)
	}
	add(now)
	if have := recorded(t, dir); missed != 2 || have["2026-01-01.ndjson"] != 10 {
		t.Errorf("%v, %d missed", have, missed)
	}
	add(now.Add(time.Minute))
	if have := recorded(t, dir); missed != 5 || have["2026-01-01.ndjson"] != 8 {
		t.Errorf("%v, %d missed", have, missed)
	}
}

// TestRecordThinnedInPart goes on where one day cannot be read, with what there is room for.
func TestRecordThinnedInPart(t *testing.T) {
	dir := t.TempDir()
	missed := 0
	r := newRecord(slog.New(slog.DiscardHandler), dir, func(n int) { missed += n })
	defer r.close()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	uid := uint32(1000)
	add := func() {
		uid++
		r.add([]control.Removal{{User: "alice", Mailbox: "INBOX", UID: uid}}, now)
	}
	for range 100 {
		add()
	}
	r.max = r.size
	if err := os.Mkdir(filepath.Join(dir, "2026-01-01"+recordEnd), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		add()
	}
	lines, fresh := 0, 0
	if err := eachLine(filepath.Join(dir, "2026-01-02"+recordEnd), func(_ string, line []byte) error {
		var one control.Removal
		err := json.Unmarshal(line, &one)
		if lines++; one.UID > 1100 {
			fresh++
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if lines+missed != 110 || fresh != 10 {
		t.Errorf("%d lines, %d of them of the last ten, %d missed", lines, fresh, missed)
	}

	// What cannot be read takes room, too.
	have := r.size
	r.max = 2 * have
	r.size += have
	if err := r.thin(); err == nil {
		t.Error("a day that is none is read")
	}
	if st, err := os.Stat(filepath.Join(dir, "2026-01-02"+recordEnd)); err != nil || st.Size() > have/2 {
		t.Errorf("%d octets of %d are left, %v", st.Size(), have, err)
	}
}

// A clock that is far ahead once, as at a start without network, takes no day along.
func TestRecordClock(t *testing.T) {
	dir := t.TempDir()
	one := []control.Removal{{User: "alice", Mailbox: "INBOX", UID: 7}}
	for _, day := range []string{"2026-01-01", "2026-01-02", "2031-05-05", "2026-01-03"} {
		now, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		r := newRecord(slog.New(slog.DiscardHandler), dir, func(int) { t.Error("missed") })
		r.add(one, now)
		r.close()
	}
	if have := recorded(t, dir); len(have) != 4 {
		t.Errorf("%v", have)
	}
}

// TestTornLine: what a power cut has torn, or has left zeros of, takes no other line
// along.
func TestTornLine(t *testing.T) {
	for _, torn := range []string{`{"user":"ali`, strings.Repeat("\x00", 100_000)} {
		dir := t.TempDir()
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := os.WriteFile(filepath.Join(dir, "2026-01-01.ndjson"), []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r := newRecord(slog.New(slog.DiscardHandler), dir, func(int) { t.Error("missed") })
			r.add([]control.Removal{{User: "alice", Mailbox: "INBOX", UID: 7}}, now)
			r.close()
		}
		if have := recorded(t, dir); have["2026-01-01.ndjson"] != 3 {
			t.Errorf("%v", have)
		}
	}
}

// TestPackets: however much there is to tell, it fits into messages, and nothing is lost.
func TestPackets(t *testing.T) {
	sent := &told{Lost: 3}
	for n := range 5000 {
		sent.Removals = append(sent.Removals, control.Removal{User: "alice", Mailbox: strings.Repeat("\x01", 300), UID: uint32(n + 1), Client: strings.Repeat("x", n)})
		sent.Counts = append(sent.Counts, metrics.Series{Name: metrics.Commands, Sum: float64(n), Buckets: make([]uint64, 18)})
	}
	var have told
	for data := range packets(*sent) {
		var one told
		if err := json.Unmarshal(data, &one); err != nil || len(data) > packet+100 {
			t.Fatalf("%d octets, %v", len(data), err)
		}
		have.Lost += one.Lost
		have.Removals = append(have.Removals, one.Removals...)
		have.Counts = append(have.Counts, one.Counts...)
	}
	if have.Lost != 3 || len(have.Removals) != 5000 || len(have.Counts) != 5000 || have.Removals[4999].UID != 5000 {
		t.Errorf("%d lost, %d removals, %d counts", have.Lost, len(have.Removals), len(have.Counts))
	}
}

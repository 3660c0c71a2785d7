package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPurgeClock removes mail by a clock that can be right alone.
func TestPurgeClock(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	set := func(path string, at time.Time) {
		t.Helper()
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	now, synced := begin, false
	c := purgeClock{filepath.Join(dir, "purge"), filepath.Join(dir, "purge.ndjson"), func() time.Time { return now }, func() bool { return synced }}
	refused := func(what string, want bool) {
		t.Helper()
		err := c.check()
		if (err != nil) != want {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && (!strings.Contains(err.Error(), now.Format("2006-01-02")) || !strings.Contains(strings.Join(hints(err), ""), "--clock-is-right")) {
			t.Errorf("%s: %v, %q", what, err, hints(err))
		}
	}
	refused("nothing is known", true)
	if err := os.WriteFile(c.rules, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	set(c.rules, begin.Add(-day))
	refused("rules of yesterday", false)
	set(c.rules, begin.Add(-30*day))
	refused("rules of a month ago", true)
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	set(c.dir, begin.Add(-time.Hour))
	refused("applied anew an hour ago", false)
	if err := c.note(); err != nil {
		t.Fatal(err)
	}
	set(c.rules, begin.Add(400*day)) // by a clock that was wrong
	set(c.dir, begin.Add(400*day))
	for _, at := range []time.Duration{day, 7 * day, -400 * day} {
		now = begin.Add(at)
		refused("after "+at.String(), false)
	}
	now = begin.Add(365 * day)
	refused("a year ahead at boot", true)
	synced = true
	refused("a year ahead, by another clock", false)
	synced = false
	now = begin.Add(day)
	refused("the clock is put right", false)
	now = begin.Add(60 * day)
	refused("the host was off", true)
	if err := c.note(); err != nil {
		t.Fatal(err)
	}
	refused("somebody says that it is right", false)
	now = now.Add(8 * day)
	refused("once does not say it for ever", true)
}

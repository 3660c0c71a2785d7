package imapserver

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// numbers are series by their name and labels.
func numbers(all []metrics.Series) map[string]float64 {
	n := map[string]float64{}
	for _, s := range all {
		key := s.Name
		for _, l := range s.Labels {
			key += " " + l
		}
		n[key] = s.Sum
		if s.Count > 0 {
			n[key] = float64(s.Count)
		}
	}
	return n
}

// scrapeAs asks as that uid, which a thread of its own has and which ends with it.
func scrapeAs(t *testing.T, uid int, path string) (all []metrics.Series, err error) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			err = e
			return
		}
		all, err = Scrape(t.Context(), path)
	}()
	<-done
	return all, err
}

// TestScrapeOfProcesses: what logins and workers count, and what a worker has counted that is
// gone, comes to whoever serves the metrics.
func TestScrapeOfProcesses(t *testing.T) {
	p := startProcesses(t)
	alice, bob := p.login("alice"), p.login("bob")
	for n := range 3 {
		bob.send(fmt.Sprintf("n%d NOOP\r\n", n))
		bob.until(fmt.Sprintf("n%d OK", n))
	}
	alice.send("b SELECT INBOX\r\nb APPEND INBOX {3+}\r\na\r\n\r\nc STORE 1 +FLAGS (\\Deleted)\r\nd EXPUNGE\r\ne LOGOUT\r\n")
	alice.until("e OK")
	p.plain("alice")
	want := map[string]float64{
		"mailstead_connections_total imaps": 2, "mailstead_logins_total imaps command ok": 2, "mailstead_logins_total imap command ok": 1,
		"mailstead_sessions imaps": 1, "mailstead_sessions imap": 1, "mailstead_users": 4, "mailstead_workers": 2,
		"mailstead_command_seconds NOOP": 3, "mailstead_command_seconds EXPUNGE": 1, "mailstead_messages_removed_total expunged": 1,
		"mailstead_certificate_expires_timestamp_seconds mail.example": -1, "mailstead_fsync_seconds": -1, "mailstead_octets_total in": -1, "mailstead_octets_total out": -1,
	}
	var missing []string
	for deadline := time.Now().Add(3 * tellCounts); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		series, err := scrapeAs(t, loginUID, p.c.Roles.Auth)
		if err != nil {
			t.Fatal(err)
		}
		have := numbers(series)
		missing = nil
		for key, n := range want {
			if have[key] != n && (n >= 0 || have[key] == 0) {
				missing = append(missing, fmt.Sprintf("%s: %v, not %v", key, have[key], n))
			}
		}
		if missing == nil {
			return
		}
	}
	slices.Sort(missing)
	t.Errorf("%q", missing)
}

// A session of a user who has as many as may be by other listeners was let in by its
// own: the worker counts it.
func TestFullIsCounted(t *testing.T) {
	m := newMail(slog.New(slog.DiscardHandler))
	m.full(m.log, &handoff.Session{Open: handoff.Open{User: "alice", Listener: "imap", Tag: "a"}}, func(answer, _ []byte) error { return nil })
	if n := numbers(m.reports.Counts.List())["mailstead_refusals_total imap sessions_of_user"]; n != 1 {
		t.Errorf("counted %v times", n)
	}
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile"
	"mailstead/schema"
)

func TestRecordFaults(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := &schema.Host{Paths: schema.Paths{State: filepath.Join(dir, "state")}}
	for _, name := range []string{"a.example", "b.example"} {
		host.TLS.Certificates = append(host.TLS.Certificates, schema.Certificate{Name: name})
	}
	file := filepath.Join(host.Paths.State, faultsFile)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record := func(now time.Time, outcomes map[string]error, want string) {
		t.Helper()
		if err := recordFaults(t.Context(), host, outcomes, now); err != nil {
			t.Fatal(err)
		}
		faults, err := readFaults(host)
		var got []string
		for _, f := range faults {
			got = append(got, f.Certificate+" "+f.Since.Format("15:04")+" "+f.Fault)
		}
		if err != nil || strings.Join(got, "; ") != want {
			t.Errorf("got %q (%v), want %q", got, err, want)
		}
	}
	record(start, map[string]error{"a.example": nil}, "")
	if _, err := os.Stat(host.Paths.State); err == nil {
		t.Error("a run without a fault wrote something")
	}
	record(start, map[string]error{"b.example": errors.New("expired"), "a.example": nil}, "b.example 12:00 expired")
	record(start.Add(time.Hour), map[string]error{"b.example": errors.New("still expired")}, "b.example 12:00 still expired")
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	record(start.Add(2*time.Hour), map[string]error{"b.example": errors.New("still expired")}, "b.example 12:00 still expired")
	if again, err := os.Stat(file); err != nil || !os.SameFile(st, again) {
		t.Errorf("the same fault was written again (%v)", err)
	}
	// A hook for one certificate says nothing of another.
	record(start.Add(3*time.Hour), map[string]error{"a.example": errors.New("no key")}, "a.example 15:00 no key; b.example 12:00 still expired")
	record(start.Add(3*time.Hour), map[string]error{"b.example": nil}, "a.example 15:00 no key")
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readFaults(host); err == nil {
		t.Error("a damaged record is read as one without faults")
	}
	record(start, map[string]error{"a.example": nil, "b.example": nil}, "")
	if _, err := os.Stat(file); err == nil {
		t.Error("the record stays when nothing is at fault")
	}
}

func TestLapses(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	valid := func(life, left time.Duration) reconcile.Certificate {
		return reconcile.Certificate{Fingerprint: "aa", Installed: "aa", NotAfter: now.Add(left), NotBefore: now.Add(left - life), InstalledUntil: now.Add(left)}
	}
	faulty := valid(90*day, -day)
	faulty.Fault, faulty.Fingerprint, faulty.InstalledUntil = "it expired", "", now.Add(9*day+time.Hour)
	files := schema.Certificate{Name: "x", Files: &schema.CertificateFiles{Certificate: "/etc/x.pem"}}
	for _, row := range []struct {
		cert schema.Certificate
		have reconcile.Certificate
		want string
	}{
		{schema.Certificate{Name: "x"}, valid(90*day, 22*day), ""},
		{schema.Certificate{Name: "x"}, valid(90*day, 20*day), "certificate/x: expires in 20 days, on 2026-03-21, and certbot has not renewed it"},
		{schema.Certificate{Name: "x"}, valid(6*day, 2*day), ""}, // short-lived ones are renewed later
		{schema.Certificate{Name: "x"}, valid(6*day, 25*time.Hour), "certificate/x: expires in 1 day, on 2026-03-02, and certbot has not renewed it"},
		{files, valid(365*day, 20*day), "certificate/x: expires in 20 days, on 2026-03-21, and nobody has renewed /etc/x.pem"},
		{files, valid(365*day, time.Hour), "certificate/x: expires within a day, on 2026-03-01, and nobody has renewed /etc/x.pem"},
		{files, faulty, "certificate/x: the one that is served expires in 9 days, on 2026-03-10"},
		{files, reconcile.Certificate{Missing: "no file"}, ""},
		{schema.Certificate{Name: "x", SelfSigned: &schema.SelfSigned{Days: 90}}, valid(90*day, day), ""},
	} {
		if got := lapses(row.cert, row.have, now); got != row.want {
			t.Errorf("got  %q\nwant %q", got, row.want)
		}
	}
}

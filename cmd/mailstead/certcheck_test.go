package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile/desired"
	"mailstead/render"
	"mailstead/schema"
)

// servesIt tells whether the certificate is the one that is served.
func (h *hookHost) servesIt(c tls.Certificate) bool {
	return bytes.Equal(h.served.Load().Certificate[0], c.Certificate[0])
}

// record keeps the host as applied, without applying it.
func (h *hookHost) record() {
	h.t.Helper()
	l, err := lookAt(h.t.Context(), h.host, desired.Options{Rootless: true}, false)
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.close()
	if err := recordApplied(h.t.Context(), l, 0); err != nil {
		h.t.Fatal(err)
	}
}

// TestCheckFollowsFiles: what something else keeps has no hook, and is written in
// place.
func TestCheckFollowsFiles(t *testing.T) {
	h := newHookHost(t)
	cert := &h.host.TLS.Certificates[0]
	cert.Certbot, cert.Files = nil, &schema.CertificateFiles{
		Certificate: filepath.Join(h.live(), "fullchain.pem"), Key: filepath.Join(h.live(), "privkey.pem"),
	}
	h.apply()
	if _, err := h.hook("", true); err != nil {
		t.Fatal(err)
	}
	renewed := testCertificate(t, "mail.example.org", "*.example.org")
	h.issue(renewed)
	if _, err := h.hook("", true); err != nil || !h.servesIt(renewed) {
		t.Errorf("the new files are not served (%v)", err)
	}
	// They are gone: what is served stays, and it is said.
	if err := os.RemoveAll(h.live()); err != nil {
		t.Fatal(err)
	}
	_, err := h.hook("", true)
	fails(t, err, "no such file or directory; what was installed before goes on being served")
	if !h.servesIt(renewed) {
		t.Error("what was served is gone")
	}
}

// TestCheckRenewsSelfSigned: nobody else does, and it must not lapse.
func TestCheckRenewsSelfSigned(t *testing.T) {
	h := newHookHost(t)
	cert := &h.host.TLS.Certificates[0]
	cert.Certbot, cert.SelfSigned = nil, &schema.SelfSigned{Days: 30}
	h.apply()
	old, err := certificateUntil(cert.Names, time.Now().Add(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(old.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	bundle := render.BundleFile(h.host.Paths, cert.Name)
	if err := writePEM(bundle, "PRIVATE KEY", key); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(bundle, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Certificate[0]})))
	f.Close()
	h.read()
	if !h.servesIt(old) {
		t.Fatal("the old one is not served, so nothing is shown")
	}
	if _, err := h.hook("", true); err != nil {
		t.Fatal(err)
	}
	now, err := x509.ParseCertificate(h.served.Load().Certificate[0])
	if err != nil || time.Until(now.NotAfter) < 29*24*time.Hour {
		t.Errorf("served until %v (%v)", now.NotAfter, err)
	}
	before := h.bundle()
	if _, err := h.hook("", true); err != nil || h.bundle() != before {
		t.Errorf("it was renewed again (%v)", err)
	}
}

// TestCheckTellsCertificatesApart: one that cannot be used keeps no other from
// being renewed, and is the only one that is recorded.
func TestCheckTellsCertificatesApart(t *testing.T) {
	h := newHookHost(t)
	h.host.TLS.Certificates = append(h.host.TLS.Certificates, schema.Certificate{
		Name: "zwei.example.net", Names: []string{"zwei.example.net"}, Certbot: &schema.Certbot{Lineage: "zwei"},
	})
	h.record() // nothing of the second is there yet, and none of it is a fault
	if _, err := h.hook("", true); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(h.host.Paths.Letsencrypt, "live", "zwei")
	if err := writeLineage(two, testCertificate(t, "other.example.net")); err != nil {
		t.Fatal(err)
	}
	renewed := testCertificate(t, "mail.example.org", "*.example.org")
	h.issue(renewed)
	_, err := h.hook("", true)
	fails(t, err, "certificate/zwei.example.net cannot be used: the certificate is for other.example.net, not for zwei.example.net")
	if !h.servesIt(renewed) {
		t.Error("the other one was not renewed")
	}
	l, err := lookForCertificates(t.Context(), h.host, desired.Options{Rootless: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	notes := strings.Join(l.certificateNotes(time.Now()), "\n")
	if strings.Count(notes, "not brought into force") != 1 || !strings.Contains(notes, "certificate/zwei.example.net: not brought into force since") || !strings.Contains(notes, ": cannot be used: the certificate is for other.example.net") {
		t.Errorf("notes:\n%s", notes)
	}
	// A hook for the other one neither fails for it nor forgets it.
	if _, err := h.hook(h.live(), false); err != nil {
		t.Error(err)
	}
	if faults, err := readFaults(h.host); err != nil || len(faults) != 1 {
		t.Errorf("%v %v", faults, err)
	}
	// Taken out of what is applied, it is no fault any more.
	h.host.TLS.Certificates = h.host.TLS.Certificates[:1]
	if faults, err := readFaults(h.host); err != nil || len(faults) != 0 {
		t.Errorf("%v %v", faults, err)
	}
}

// TestHookIsCancelled: what took too long is told of like any other fault.
func TestHookIsCancelled(t *testing.T) {
	h := newHookHost(t)
	h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := runDeployHook(ctx, deployHookOptions{state: h.host.Paths.State, all: true}, &console{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
	if err == nil {
		t.Fatal("it ended well")
	}
	if faults, err := readFaults(h.host); err != nil || len(faults) != 1 {
		t.Errorf("what took too long is not recorded: %v %v", faults, err)
	}
}

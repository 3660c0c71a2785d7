package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// hookHost is a rootless host with a certbot lineage, applied once, and a
// daemon that serves its bundle and reads it again when it is told to.
type hookHost struct {
	t      *testing.T
	host   *schema.Host
	served atomic.Pointer[tls.Certificate]
	status atomic.Pointer[control.Status]
	deaf   atomic.Bool // reloads are acknowledged and not done
}

func newHookHost(t *testing.T) *hookHost {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &hookHost{t: t}
	listener := serveProbe(t, schema.Implicit, func(conn net.Conn) {
		tls.Server(conn, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return h.served.Load(), nil
		}}).Handshake()
	})
	h.host = &schema.Host{
		Name:      "mail.example.org",
		Origin:    schema.Pos{File: "host.cue", Line: 1, Col: 8},
		Listeners: []schema.Listener{listener},
		TLS: schema.TLS{Policy: "intermediate", Certificates: []schema.Certificate{
			{Name: "mail.example.org", Origin: schema.Pos{File: "host.cue", Line: 3, Col: 21}, Names: []string{"mail.example.org", "*.example.org"}, Certbot: &schema.Certbot{Lineage: "lineage"}},
		}},
		Mail: schema.Mail{Root: filepath.Join(dir, "mail")},
		Paths: schema.Paths{
			State: filepath.Join(dir, "state"), Run: filepath.Join(dir, "run"), Bin: dir,
			Letsencrypt: filepath.Join(dir, "letsencrypt"), Units: filepath.Join(dir, "units"),
		},
	}
	h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
	h.apply()
	h.read()
	h.control()
	return h
}

// issue puts a certificate into the lineage, as certbot does.
func (h *hookHost) issue(c tls.Certificate) {
	h.t.Helper()
	if err := writeLineage(h.live(), c); err != nil {
		h.t.Fatal(err)
	}
}

// writeLineage puts a certificate and its key where certbot would.
func writeLineage(dir string, c tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(dir, 0o700),
		writePEM(filepath.Join(dir, "privkey.pem"), "PRIVATE KEY", key),
		os.WriteFile(filepath.Join(dir, "fullchain.pem"), chainPEM(c), 0o600),
	)
}

func chainPEM(c tls.Certificate) (text []byte) {
	for _, der := range c.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// apply applies the host.
func (h *hookHost) apply() {
	h.t.Helper()
	h.applyUnder(nil)
}

// applyUnder does it under a lock that is held, if one is.
func (h *hookHost) applyUnder(lock *reconcile.Lock) {
	h.t.Helper()
	l, err := lookAt(h.t.Context(), h.host, desired.Options{Rootless: true}, false)
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.close()
	l.lock = lock
	plan, err := l.compare(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := l.apply(h.t.Context(), &console{out: &out, err: &out}, plan, 0); err != nil {
		h.t.Fatalf("%v\n%s", err, &out)
	}
	if err := recordApplied(h.t.Context(), l, 0); err != nil {
		h.t.Fatal(err)
	}
}

// read has the daemon serve what is in the bundle.
func (h *hookHost) read() {
	bundle := render.BundleFile(h.host.Paths, "mail.example.org")
	c, err := tls.LoadX509KeyPair(bundle, bundle)
	if err != nil {
		h.t.Error(err)
		return
	}
	h.served.Store(&c)
	h.status.Store(h.says(c))
}

// says is what a daemon says of itself that has read the files and this certificate.
func (h *hookHost) says(cert tls.Certificate) *control.Status {
	text, err := os.ReadFile(render.ConfigFile(h.host.Paths))
	if err != nil {
		h.t.Error(err)
		return nil
	}
	c, err := config.Parse(text)
	if err != nil {
		h.t.Error(err)
		return nil
	}
	users, err := os.ReadFile(c.Users)
	if err != nil {
		h.t.Error(err)
	}
	digest := func(data []byte) string { return fingerprint(&x509.Certificate{Raw: data}) }
	s := &control.Status{Generation: c.Generation, Config: digest(text), Users: control.Users{Digest: digest(users)},
		Bundles: []control.Bundle{{Name: "mail.example.org", Fingerprint: fingerprint(cert.Leaf)}}}
	for _, l := range c.Listeners {
		s.Listeners = append(s.Listeners, control.Listener{Name: l.Name, Address: net.JoinHostPort(l.Address, strconv.Itoa(l.Port))})
	}
	return s
}

// control answers on the control socket.
func (h *hookHost) control() {
	h.t.Helper()
	ln, err := control.Listen(render.ControlSocket(h.host.Paths))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		control.Serve(ctx, ln, func(_ context.Context, r control.Request) control.Status {
			if r.Verb == control.VerbReload && !h.deaf.Load() {
				h.read()
			}
			return *h.status.Load()
		})
	}()
	h.t.Cleanup(func() { cancel(); <-done })
}

// hook runs the deploy hook with what certbot would put into its environment.
func (h *hookHost) hook(lineage string, all bool) (string, error) {
	var out bytes.Buffer
	err := runDeployHook(h.t.Context(), deployHookOptions{
		state: h.host.Paths.State, lineage: lineage, domains: "mail.example.org *.example.org", all: all, wait: 300 * time.Millisecond,
	}, &console{out: &out, err: &out})
	return out.String(), err
}

func (h *hookHost) live() string {
	return filepath.Join(h.host.Paths.Letsencrypt, "live", "lineage")
}

// bundle is the text of the installed bundle.
func (h *hookHost) bundle() string {
	h.t.Helper()
	text, err := os.ReadFile(render.BundleFile(h.host.Paths, "mail.example.org"))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

func TestDeployHook(t *testing.T) {
	h := newHookHost(t)
	renewed := testCertificate(t, "mail.example.org", "*.example.org")
	h.issue(renewed)
	out, err := h.hook(h.live(), false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(h.served.Load().Certificate[0], renewed.Certificate[0]) {
		t.Error("the renewed certificate is not served")
	}
	if !strings.Contains(out, "mail.example.org: valid until") {
		t.Errorf("it does not say what is served:\n%s", out)
	}
	// By the record of what was applied, which has no places; the inventory keeps them.
	if !strings.Contains(out, "~ certificate/mail.example.org  host.cue:3:21  ") {
		t.Errorf("it does not say who asks for the certificate:\n%s", out)
	}
	inv, err := reconcile.ReadInventory(h.host.Paths.State)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := inv.Applied(kind.CertificateRef("mail.example.org")); r.Origin != "host.cue:3:21" {
		t.Errorf("the inventory has lost who asks for the certificate: %q", r.Origin)
	}
	// Again, with another spelling of the same directory, and by hand.
	for _, lineage := range []string{h.live() + "/", filepath.Join(h.live(), "..", "lineage")} {
		if _, err := h.hook(lineage, false); err != nil {
			t.Errorf("RENEWED_LINEAGE=%s: %v", lineage, err)
		}
	}
	if _, err := h.hook("", true); err != nil {
		t.Errorf("--all: %v", err)
	}
}

// TestDeployHookChain: the same leaf with its issuer behind it is served, or it is said
// that it is not.
func TestDeployHookChain(t *testing.T) {
	h := newHookHost(t)
	c, issuer := issuedCertificate(t, "mail.example.org", "*.example.org")
	h.issue(c)
	if _, err := h.hook(h.live(), false); err != nil {
		t.Fatal(err)
	}
	c.Certificate = append(c.Certificate, issuer)
	h.issue(c)
	h.deaf.Store(true)
	_, err := h.hook(h.live(), false)
	fails(t, err, "is installed, but listener test does not serve it for mail.example.org: it is, with another chain (of length 1)")
	l, err := lookAt(t.Context(), h.host, desired.Options{Rootless: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := probe{dial: dialListener, listener: h.host.Listeners[0]}
	bundles := []config.Bundle{{Name: "mail.example.org", Names: []string{"mail.example.org"}}}
	fails(t, p.run(t.Context(), bundles, l.facts.Certificates), "is served with another chain (of length 1)")
	h.deaf.Store(false)
	if _, err := h.hook(h.live(), false); err != nil {
		t.Fatal(err)
	}
	if n := len(h.served.Load().Certificate); n != 2 {
		t.Errorf("a chain of length %d is served", n)
	}
}

// TestDeployHookWaits: what was applied while the hook waited for the lock stays.
func TestDeployHookWaits(t *testing.T) {
	h := newHookHost(t)
	lock, err := reconcile.TakeLock(t.Context(), h.host.Paths.State, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := h.hook("", true)
		ended <- err
	}()
	time.Sleep(300 * time.Millisecond) // it has read what was applied
	h.host.Listeners[0].Capabilities.Off = []string{"ACL"}
	h.applyUnder(lock)
	path := render.ConfigFile(h.host.Paths)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the configuration was put back: %v", err)
	}
}

// TestDeployHookHandedBack: nothing is done on a host that was handed back, until it is applied.
func TestDeployHookHandedBack(t *testing.T) {
	h := newHookHost(t)
	if err := markApplied(h.host.Paths.State, func(a *applied) { a.HandedBack = true }); err != nil {
		t.Fatal(err)
	}
	before := h.bundle()
	h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
	out, err := h.hook(h.live(), false)
	if err != nil || !strings.Contains(out, "handed back") {
		t.Errorf("%v\n%s", err, out)
	}
	if h.bundle() != before {
		t.Error("the certificate was installed")
	}
	l, err := lookAt(t.Context(), h.host, desired.Options{Rootless: true}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var said bytes.Buffer
	if stand, err := l.standing(t.Context(), &console{out: &said, err: &said}); stand != nil || err != nil {
		t.Errorf("it is applied at boot: %v, %v\n%s", stand != nil, err, &said)
	}
	h.apply()
	if out, err := h.hook(h.live(), false); err != nil || strings.Contains(out, "handed back") {
		t.Errorf("after an apply: %v\n%s", err, out)
	}
}

// TestDeployHookThroughLink: certbot names its directory as it was configured,
// and the description may know it by a link.
func TestDeployHookThroughLink(t *testing.T) {
	h := newHookHost(t)
	link := filepath.Join(t.TempDir(), "le")
	if err := os.Symlink(h.host.Paths.Letsencrypt, link); err != nil {
		t.Fatal(err)
	}
	h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
	before := h.bundle()
	if _, err := h.hook(filepath.Join(link, "live", "lineage"), false); err != nil {
		t.Fatal(err)
	}
	if h.bundle() == before {
		t.Error("the lineage was not recognized")
	}
}

func TestDeployHookIgnores(t *testing.T) {
	h := newHookHost(t)
	h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
	before := h.bundle()
	for _, lineage := range []string{
		"/etc/letsencrypt/live/lineage",
		filepath.Join(h.host.Paths.Letsencrypt, "live"),
		h.live() + "2",
		filepath.Join(h.live(), ".."),
		"../../etc/passwd",
		h.live() + "\n" + h.live(),
		"$(touch " + filepath.Join(h.host.Paths.State, "owned") + ")",
		"-o", "\x1b[2J", strings.Repeat("x", 1<<16), "/", ".",
	} {
		out, err := h.hook(lineage, false)
		if err != nil {
			t.Errorf("RENEWED_LINEAGE=%.40q: %v", lineage, err)
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("RENEWED_LINEAGE=%.40q reaches the terminal as it is", lineage)
		}
	}
	if h.bundle() != before {
		t.Error("a foreign lineage changed the bundle")
	}
	if _, err := h.hook("", false); err == nil {
		t.Error("without RENEWED_LINEAGE and --all it did something")
	}
}

func TestDeployHookFailsLoudly(t *testing.T) {
	t.Run("another certificate is served", func(t *testing.T) {
		h := newHookHost(t)
		h.deaf.Store(true)
		h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
		_, err := h.hook(h.live(), false)
		fails(t, err, "is installed, but listener test does not serve it for mail.example.org: another one is")
	})
	t.Run("key of another certificate", func(t *testing.T) {
		h := newHookHost(t)
		before := h.bundle()
		h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
		other := testCertificate(t, "mail.example.org", "*.example.org")
		if err := writePEM(filepath.Join(h.live(), "fullchain.pem"), "CERTIFICATE", other.Certificate[0]); err != nil {
			t.Fatal(err)
		}
		_, err := h.hook(h.live(), false)
		fails(t, err, "key")
		if h.bundle() != before {
			t.Error("the bundle that is served was replaced")
		}
	})
	t.Run("a name is missing", func(t *testing.T) {
		h := newHookHost(t)
		h.issue(testCertificate(t, "mail.example.org"))
		_, err := h.hook(h.live(), false)
		fails(t, err, "*.example.org")
	})
	t.Run("nobody listens", func(t *testing.T) {
		h := newHookHost(t)
		h.host.Listeners[0].Port = 1
		h.apply()
		h.issue(testCertificate(t, "mail.example.org", "*.example.org"))
		_, err := h.hook(h.live(), false)
		fails(t, err, "connection refused")
	})
	t.Run("nothing was applied", func(t *testing.T) {
		h := newHookHost(t)
		os.Remove(filepath.Join(h.host.Paths.State, appliedFile))
		_, err := h.hook(h.live(), false)
		fails(t, err, "nothing has been applied yet")
	})
	t.Run("the record is broken", func(t *testing.T) {
		h := newHookHost(t)
		os.WriteFile(filepath.Join(h.host.Paths.State, appliedFile), []byte(`{"version":99}`), 0o600)
		_, err := h.hook(h.live(), false)
		fails(t, err, "another version")
	})
}

func fails(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

// TestOnlyServing: a renewal ends no connection and removes nothing.
func TestOnlyServing(t *testing.T) {
	change := func(kind, name string, op reconcile.Op, impact reconcile.Impact) reconcile.Change {
		c := reconcile.Change{Ref: reconcile.Ref{Kind: kind, Name: name}, Op: op, Impact: impact, Want: &reconcile.Resource{}}
		if op == reconcile.Delete {
			c.Want = nil
		}
		return c
	}
	plan := &reconcile.Plan{
		Changes: []reconcile.Change{
			change("certificate", "ours", reconcile.Update, reconcile.Reload),
			change("certificate", "another", reconcile.Update, reconcile.Reload),
			change("daemon-config", "/y", reconcile.Update, reconcile.Reload),
			change("unit", "mailstead-imap.socket", reconcile.Create, reconcile.Restart),
			change("unit", "mailstead-imapd.service", reconcile.Update, reconcile.Restart),
			change("unit", "mailstead-old.socket", reconcile.Delete, reconcile.Restart),
			change("daemon", "mailstead-imapd", reconcile.Action, reconcile.Reload),
		},
		Record: []reconcile.Resource{{Ref: reconcile.Ref{Kind: "unit", Name: "mailstead-x.socket"}}},
		Forget: []reconcile.Ref{{Kind: "unit", Name: "mailstead-y.socket"}},
	}
	want := &reconcile.Plan{
		Changes: []reconcile.Change{plan.Changes[0], plan.Changes[1], plan.Changes[2], plan.Changes[3], plan.Changes[6]},
	}
	if d := cmp.Diff(want, onlyServing(plan, false)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	want.Changes = want.Changes[:2]
	if d := cmp.Diff(want, onlyServing(plan, true)); d != "" {
		t.Errorf("certificates alone (-want +got):\n%s", d)
	}
}

// TestUnusable: what is wrong with other certificates is not this renewal's
// fault, and one that was never issued is nobody's.
func TestUnusable(t *testing.T) {
	ref := func(name string) reconcile.Ref { return reconcile.Ref{Kind: "certificate", Name: name} }
	l := &look{facts: reconcile.Facts{Certificates: map[string]reconcile.Certificate{
		"broken": {Fault: "x"}, "locked": {Unreadable: "x"}, "foreign": {Fault: "x"},
		"new": {Missing: "x"}, "gone": {Missing: "x", Installed: "aa"},
	}}}
	plan := &reconcile.Plan{
		Blocked: []reconcile.Waiting{
			{Ref: ref("broken"), Reason: "it expired"}, {Ref: ref("foreign"), Reason: "it expired"}, {Ref: ref("new"), Reason: "no lineage"},
			{Ref: ref("gone"), Reason: "no lineage"}, {Ref: reconcile.Ref{Kind: "unit", Name: "mailstead-imap.socket"}, Reason: "waits"},
		},
		Unreadable: []reconcile.Unread{{Ref: ref("locked"), Reason: "permission denied"}},
	}
	outcomes := map[string]error{"broken": nil, "locked": nil, "new": nil, "gone": nil, "good": nil}
	l.unusable(plan, outcomes)
	got := map[string]string{}
	for name, err := range outcomes {
		if got[name] = ""; err != nil {
			got[name] = err.Error()
		}
	}
	want := map[string]string{
		"broken": "certificate/broken cannot be used: it expired", "locked": "certificate/locked cannot be read: permission denied",
		"new": "", "gone": "certificate/gone cannot be used: no lineage", "good": "",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

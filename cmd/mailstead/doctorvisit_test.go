package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile/doctor"
	"mailstead/schema"
)

// visited is what a look from outside finds at a listener.
func visited(t *testing.T, l schema.Listener, names ...string) (codes []doctor.Code, seen string) {
	t.Helper()
	c := schema.Certificate{Name: "test", Names: names}
	u := &checkup{Report: &doctor.Report{}, now: time.Now(), host: &schema.Host{TLS: schema.TLS{Certificates: []schema.Certificate{c}}}}
	v := visit{checkup: u, of: l, listener: l, names: namesOf(u.host)}
	v.look(t.Context())
	for _, f := range u.Findings {
		codes = append(codes, f.Code)
		seen += f.Seen + "\n"
	}
	return codes, seen
}

// talker answers a greeting, CAPABILITY and STARTTLS as it is told to.
func talker(capabilities string, certificates map[string]tls.Certificate) func(net.Conn) {
	return func(conn net.Conn) {
		fmt.Fprint(conn, "* OK ready\r\n")
		for r := bufio.NewReaderSize(conn, 16); ; {
			line, err := r.ReadString('\n')
			words := strings.Fields(line)
			switch {
			case err != nil || len(words) < 2:
				return
			case words[1] == "CAPABILITY":
				fmt.Fprintf(conn, "* CAPABILITY %s\r\n%s OK done\r\n", capabilities, words[0])
			case words[1] == "STARTTLS":
				fmt.Fprintf(conn, "%s OK begin\r\n", words[0])
				tls.Server(conn, bySNI(certificates)).Handshake()
				return
			}
		}
	}
}

// Each thing that can be wrong with a listener is found, whoever answers there.
func TestVisit(t *testing.T) {
	const good = "IMAP4rev1 STARTTLS LOGINDISABLED"
	certificates := map[string]tls.Certificate{"a.example.org": testCertificate(t, "a.example.org"), "b.example.org": testCertificate(t, "c.example.org")}
	for _, test := range []struct {
		name   string
		mode   schema.TLSMode
		handle func(net.Conn)
		ask    []string
		want   []doctor.Code
		seen   string
	}{
		{"nobody's certificate", schema.STARTTLS, talker(good, certificates), []string{"a.example.org"}, []doctor.Code{doctor.CertificateUntrusted}, "not among the system's authorities"},
		{"another name's", schema.STARTTLS, talker(good, certificates), []string{"b.example.org"}, []doctor.Code{doctor.CertificateName, doctor.CertificateUntrusted}, "the certificate is for c.example.org"},
		{"no such name", schema.STARTTLS, talker(good, certificates), []string{"x.example.org", "y.example.org"}, []doctor.Code{doctor.TLSFails}, "x.example.org: TLS handshake"},
		{"passwords before TLS", schema.STARTTLS, talker("IMAP4rev1 STARTTLS", nil), nil, []doctor.Code{doctor.LoginBeforeTLS}, "has no LOGINDISABLED"},
		{"PLAIN before TLS", schema.STARTTLS, talker(good+" AUTH=PLAIN", nil), nil, []doctor.Code{doctor.LoginBeforeTLS}, "offers AUTH=PLAIN"},
		{"no TLS", schema.STARTTLS, talker("IMAP4rev1 LOGINDISABLED", nil), []string{"a.example.org"}, []doctor.Code{doctor.StarttlsMissing}, "no STARTTLS"},
		{"no IMAP4rev1", schema.STARTTLS, talker("IMAP2", nil), nil, []doctor.Code{doctor.ListenerStrange}, "does not offer IMAP4rev1"},
		{"no TLS wanted", schema.Plain, talker("IMAP4rev1 AUTH=PLAIN", nil), nil, nil, ""},
		{"SMTP", schema.STARTTLS, func(c net.Conn) { fmt.Fprint(c, "220 mail ESMTP\r\n") }, nil, []doctor.Code{doctor.ListenerStrange}, "does not greet as an IMAP server"},
		{"busy", schema.STARTTLS, func(c net.Conn) { fmt.Fprint(c, "* BYE later\r\n") }, nil, []doctor.Code{doctor.ListenerStrange}, "later"},
		{"without end", schema.STARTTLS, func(c net.Conn) {
			fmt.Fprint(c, "* OK ")
			for _, err := c.Write(make([]byte, 1<<16)); err == nil; _, err = c.Write(make([]byte, 1<<16)) {
			}
		}, nil, []doctor.Code{doctor.ListenerStrange}, "it says more than 65536 octets"},
		{"hangs up", schema.Implicit, func(c net.Conn) {}, []string{"a.example.org"}, []doctor.Code{doctor.TLSFails}, "a.example.org: "},
	} {
		codes, seen := visited(t, serveProbe(t, test.mode, test.handle), test.ask...)
		if diff := cmp.Diff(test.want, codes); diff != "" || !strings.Contains(seen, test.seen) {
			t.Errorf("%s: %s%s", test.name, diff, seen)
		}
	}
	codes, seen := visited(t, schema.Listener{Name: "test", Address: "127.0.0.1", Port: 1, TLS: schema.Implicit})
	if len(codes) != 1 || codes[0] != doctor.ListenerUnreachable || seen != "connect: connection refused\n" {
		t.Errorf("a closed port: %v %s", codes, seen)
	}
}

// Which listeners are for those who come to an address from outside.
func TestOpenAt(t *testing.T) {
	v4, v6, loop := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("127.0.0.1")
	for _, test := range []struct {
		own   string
		at    netip.Addr
		given bool
		want  bool
	}{
		{"", v4, false, true}, {"", v6, false, true}, {"0.0.0.0", v4, false, true}, {"0.0.0.0", v6, false, false}, {"::", v6, false, true},
		{"127.0.0.1", loop, false, false}, {"127.0.0.1", loop, true, true}, {"127.0.0.1", v4, true, false},
		{"10.0.0.1", v4, false, true}, {"10.0.0.1", v6, false, false}, // behind a router that translates
	} {
		if got := openAt(schema.Listener{Address: test.own}, test.at, test.given); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// TestPasswordFiles names every file with a password or a secret that a description can.
func TestPasswordFiles(t *testing.T) {
	h := &schema.Host{
		Directories: []schema.Directory{{Name: "staff", LDAP: &schema.LDAP{PasswordFile: "/ldap"}}, {Name: "sql"}},
		Web:         &schema.Web{Admins: []schema.WebAdmin{{Name: "ada", TOTPFile: "/totp"}, {Name: "by certificate"}}},
		Probe:       &schema.Probe{File: "/probe"},
		Users:       []schema.User{{Name: "vera", Imports: []schema.Import{{Name: "old", PasswordFile: "/import"}}}},
	}
	var got []string
	for _, f := range passwordFiles(h) {
		if got = append(got, f.Path+": "+f.What); !f.Secret {
			t.Errorf("%s is not secret", f.Path)
		}
	}
	want := []string{"/ldap: password of directory staff", "/totp: secret of the codes of the admin ada", "/probe: password of the probe", "/import: password of import old of vera"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

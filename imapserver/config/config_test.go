package config

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

// sample is a configuration that uses every field.
func sample() *Config {
	return &Config{
		Version:    FormatVersion,
		Generation: "0123456789abcdef",
		Hostname:   "mail.example.org",
		Control:    "/run/mailstead/control",
		Users:      "/var/lib/mailstead/users.ndjson",
		Service:    Identity{UID: 990, GID: 990},
		Listeners: []Listener{
			{Name: "imap", Port: 143, TLS: STARTTLS},
			{Name: "imaps", Address: "2001:db8::1", Port: 993, TLS: Implicit},
			{Name: "local", Address: "127.0.0.1", Port: 1143, TLS: Plain},
		},
		TLS: TLS{Policy: Intermediate, Bundles: []Bundle{{
			Name:  "mail.example.org",
			File:  "/var/lib/mailstead/bundles/mail.example.org.pem",
			Names: []string{"mail.example.org", "*.example.net"},
		}}},
		Namespace: "INBOX.",
		PAM:       &PAM{Service: "mailstead", Helper: "/usr/local/bin/mailstead-pam", Socket: "/run/mailstead-pam"},
		Workers:   WorkerPerUID,
		Roles:     &Roles{Login: Identity{UID: 991, GID: 991}, Auth: "/run/mailstead-auth", Spawn: "/run/mailstead-spawn"},
		MailRoot:  "/var/vmail",
	}
}

func TestConfigRoundTrip(t *testing.T) {
	want := sample()
	want.Limits = map[string]int64{"loginTime": 90, "waiting": 500}
	data, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if again, _ := Encode(got); !bytes.Equal(again, data) {
		t.Errorf("encoded again:\n%s\nfirst:\n%s", again, data)
	}
}

func TestEncodeNoListeners(t *testing.T) {
	c := sample()
	c.Listeners = nil
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(`"listeners": [],`)) {
		t.Errorf("no listeners are not an empty list:\n%s", data)
	}
}

// Each row alters the sample once; the message is the whole one.
func TestCheckFaults(t *testing.T) {
	for _, row := range []struct {
		name  string
		alter func(*Config)
		want  string
	}{
		{"version", func(c *Config) { c.Version = 2 }, "version 2 of the file: this program reads version 1 (run mailstead apply with the mailstead of the same release)"},
		{"limit beyond", func(c *Config) { c.Limits = map[string]int64{"loginTime": 5} }, "limits: loginTime: 5 is not from 30 to 600"},
		{"limit unknown", func(c *Config) { c.Limits = map[string]int64{"x": 5} }, "limits: x: there is no such limit"},
		{"generation", func(c *Config) { c.Generation = "" }, `generation: "" is not a digest`},
		{"hostname", func(c *Config) { c.Hostname = "mail example" }, `hostname: "mail example" is not a domain name in lower case`},
		{"hostname CRLF", func(c *Config) { c.Hostname = "mail\r\n* BYE" }, `hostname: "mail\r\n* BYE" is not a domain name in lower case`},
		{"control relative", func(c *Config) { c.Control = "control" }, `control: "control" is not an absolute path in its shortest form`},
		{"control long", func(c *Config) { c.Control = "/" + strings.Repeat("a", 107) }, "control: 108 bytes: the path of a socket has at most 107"},
		{"users missing", func(c *Config) { c.Users = "" }, "users: missing"},
		{"users escapes", func(c *Config) { c.Users = "/var/lib/../../etc/shadow" }, `users: "/var/lib/../../etc/shadow" is not an absolute path in its shortest form`},
		{"users newline", func(c *Config) { c.Users = "/var\n/lib" }, `users: "/var\n/lib" holds a control character`},
		{"users not UTF-8", func(c *Config) { c.Users = "/var/\xff" }, `users: "/var/\xff" is not UTF-8`},
		{"users long", func(c *Config) { c.Users = "/" + strings.Repeat("a", 4096) }, "users: 4097 bytes, more than 4096"},
		{"service uid", func(c *Config) { c.Service.UID = -1 }, "service: uid -1 is no uid"},
		{"service gid", func(c *Config) { c.Service.GID = 1<<32 - 1 }, "service: gid 4294967295 is no gid"},
		{"listener name", func(c *Config) { c.Listeners[0].Name = "IMAP:1" }, `listeners[0] (IMAP:1): name: "IMAP:1": at most 32 lower-case letters, digits and hyphens, the first a letter`},
		{"listener twice", func(c *Config) { c.Listeners[2].Name = "imap" }, "listeners[2] (imap): the name is given twice"},
		{"listener address", func(c *Config) { c.Listeners[1].Address = "localhost" }, `listeners[1] (imaps): address: "localhost" is not an IP address`},
		{"listener zone", func(c *Config) { c.Listeners[1].Address = "fe80::1%eth0" }, `listeners[1] (imaps): address: "fe80::1%eth0" is not an IP address`},
		{"listener port", func(c *Config) { c.Listeners[1].Port = 65536 }, "listeners[1] (imaps): port: 65536 is not between 1 and 65535"},
		{"port taken by every address", func(c *Config) { c.Listeners[2].Port = 143 }, "listeners[2] (local): port 143 is taken by imap"},
		{"port taken by ::", func(c *Config) { c.Listeners[0].Address = "::"; c.Listeners[2].Port = 143 }, "listeners[2] (local): port 143 is taken by imap"},
		{"port taken by 0.0.0.0", func(c *Config) { c.Listeners[0].Address = "0.0.0.0"; c.Listeners[2].Port = 143 }, "listeners[2] (local): port 143 is taken by imap"},
		{"port taken in another spelling", func(c *Config) { c.Listeners[0].Address = "::ffff:127.0.0.1"; c.Listeners[2].Port = 143 }, "listeners[2] (local): port 143 is taken by imap"},
		{"listener tls", func(c *Config) { c.Listeners[0].TLS = "off" }, `listeners[0] (imap): tls: "off": one of "starttls", "implicit" and "none"`},
		{"plain in public", func(c *Config) { c.Listeners[2].Address = "192.0.2.1" }, "listeners[2] (local): tls: none is for loopback addresses only"},
		{"plain everywhere", func(c *Config) { c.Listeners[2].Address = "" }, "listeners[2] (local): tls: none is for loopback addresses only"},
		{"no certificate", func(c *Config) { c.TLS.Bundles = nil; c.Listeners = c.Listeners[1:2] }, "listeners[0] (imaps): tls: implicit without any certificate bundle"},
		{"policy", func(c *Config) { c.TLS.Policy = "old" }, `tls.policy: "old": either "modern" or "intermediate"`},
		{"bundle name", func(c *Config) { c.TLS.Bundles[0].Name = "../x" }, `tls.bundles[0] (../x): name: "../x" is not the name of a bundle`},
		{"bundle twice", func(c *Config) {
			c.TLS.Bundles = append(c.TLS.Bundles, Bundle{Name: "mail.example.org", File: "/b", Names: []string{"b.example.org"}})
		}, "tls.bundles[1] (mail.example.org): the name is given twice"},
		{"bundle file", func(c *Config) { c.TLS.Bundles[0].File = "/" }, `tls.bundles[0] (mail.example.org): file: "/" is not an absolute path in its shortest form`},
		{"bundle without names", func(c *Config) { c.TLS.Bundles[0].Names = nil }, "tls.bundles[0] (mail.example.org): names: not one, so it could never be served"},
		{"bundle name upper", func(c *Config) { c.TLS.Bundles[0].Names[1] = "*.Example.net" }, `tls.bundles[0] (mail.example.org): names: "Example.net" is not a domain name in lower case`},
		{"bundle name long", func(c *Config) { c.TLS.Bundles[0].Names[1] = strings.Repeat("a.", 127) }, "tls.bundles[0] (mail.example.org): names: 254 bytes, more than 253"},
		{"SNI name twice", func(c *Config) {
			c.TLS.Bundles = append(c.TLS.Bundles, Bundle{Name: "b", File: "/b", Names: []string{"*.example.net"}})
		}, "tls.bundles[1] (b): names: *.example.net is served by mail.example.org"},
		{"admin", func(c *Config) { c.Admin = "mailto:a@b\r\n* BYE" }, "admin: \"mailto:a@b\\r\\n* BYE\" holds a control character"},
		{"comment", func(c *Config) { c.Comment = strings.Repeat("x", 2049) }, "comment: 2049 bytes, more than 2048"},
		{"namespace", func(c *Config) { c.Namespace = "Mail/" }, `namespace: "Mail/": either empty or "INBOX."`},
		{"pam service", func(c *Config) { c.PAM.Service = "../passwd" }, `pam.service: "../passwd" is not the name of a PAM service`},
		{"pam helper", func(c *Config) { c.PAM.Helper = "mailstead-pam" }, `pam.helper: "mailstead-pam" is not an absolute path in its shortest form`},
		{"pam socket", func(c *Config) { c.PAM.Socket = "mailstead-pam" }, `pam.socket: "mailstead-pam" is not an absolute path in its shortest form`},
		{"mail root", func(c *Config) { c.MailRoot = "vmail" }, `mail_root: "vmail" is not an absolute path in its shortest form`},
		{"roles missing", func(c *Config) { c.Roles = nil }, `roles: missing, with workers "process"`},
		{"roles inline", func(c *Config) { c.Workers = WorkerInline }, `roles: given, with workers "inline"`},
		{"roles login", func(c *Config) { c.Roles.Login.UID = 990 }, "roles.login: uid 990 is that of the service, whose files a login must not reach"},
		{"roles auth", func(c *Config) { c.Roles.Auth = "/" + strings.Repeat("a", 107) }, "roles.auth: 108 bytes: the path of a socket has at most 107"},
		{"roles spawn", func(c *Config) { c.Roles.Spawn = "x" }, `roles.spawn: "x" is not an absolute path in its shortest form`},
		{"workers", func(c *Config) { c.Workers = "" }, `workers: "": either "process" or "inline"`},
		{"several at once", func(c *Config) { c.Hostname = ""; c.Listeners[1].Address = "x"; c.Listeners[1].Port = -1 },
			"hostname: \"\" is not a domain name in lower case\nlisteners[1] (imaps): address: \"x\" is not an IP address\nlisteners[1] (imaps): port: -1 is not between 1 and 65535"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := sample()
			row.alter(c)
			_, err := Encode(c)
			if err == nil {
				t.Fatal("encoded")
			}
			if diff := cmp.Diff("encode configuration: "+row.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseStrict(t *testing.T) {
	data, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for _, row := range []struct {
		name, text, want string
	}{
		{"empty", "", "1:1: unexpected end of JSON input"},
		{"cut off", good[:40], "3:23: unexpected end of JSON input"},
		{"null", "null", "version 0 of the file: this program reads version 1 (run mailstead apply with the mailstead of the same release)"},
		{"no object", "[]", "1:1: array where config.Config is expected"},
		{"newer", `{"version": 2, "new": true}`, "version 2 of the file: this program reads version 1 (run mailstead apply with the mailstead of the same release)"},
		{"unknown field", strings.Replace(good, `"hostname"`, `"hostnam"`, 1), `unknown field "hostnam"`},
		{"unknown field within", strings.Replace(good, `"port": 143`, `"prot": 143`, 1), `unknown field "prot"`},
		{"twice", strings.Replace(good, `"hostname"`, "\"users\": \"/x\",\n\t\"hostname\"", 1), `7:2: field "users" is given twice`},
		{"twice in another case", strings.Replace(good, `"hostname"`, "\"USERS\": \"/x\",\n\t\"hostname\"", 1), `7:2: field "users" is given twice`},
		{"twice within", strings.Replace(good, `"port": 143`, `"port": 1, "port": 143`, 1), `14:15: field "port" is given twice`},
		{"type", strings.Replace(good, `"port": 143`, `"port": "143"`, 1), "14:16: listeners.port: string where int is expected"},
		{"fraction", strings.Replace(good, `"port": 143`, `"port": 143.5`, 1), "14:16: listeners.port: number 143.5 where int is expected"},
		{"overflow", strings.Replace(good, `"port": 143`, `"port": 99999999999999999999`, 1), "14:31: listeners.port: number 99999999999999999999 where int is expected"},
		{"syntax", strings.Replace(good, `"port": 143`, `"port": 0143`, 1), "14:13: invalid character '1' after object key:value pair"},
		{"trailing", good + "{}", "60:1: invalid character '{' after top-level value"},
		{"value", strings.Replace(good, `"port": 143`, `"port": 70000`, 1), "listeners[0] (imap): port: 70000 is not between 1 and 65535"},
		{"too large", strings.Repeat(" ", MaxConfigSize+1), "4194305 bytes, more than 4194304"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse([]byte(row.text))
			if err == nil {
				t.Fatal("parsed")
			}
			if diff := cmp.Diff("parse configuration: "+row.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGeneration(t *testing.T) {
	gen := func(c *Config, users string) string {
		t.Helper()
		g, err := Generation(c, strings.NewReader(users))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	c := sample()
	first := gen(c, "users")
	if first != "d55598c8ecf3aecb30c84b901017f67a" {
		t.Errorf("generation = %s: every host would reload after an update", first)
	}
	c.Generation = first
	if got := gen(c, "users"); got != first {
		t.Errorf("with the generation filled in: %s, before: %s", got, first)
	}
	if gen(c, "other users") == first {
		t.Error("other users give the same generation")
	}
	c.Hostname = "imap.example.org"
	if gen(c, "users") == first {
		t.Error("another hostname gives the same generation")
	}
	c.Generation = gen(c, "users")
	if _, err := Encode(c); err != nil {
		t.Errorf("its own generation is refused: %v", err)
	}
}

// Whatever is accepted is written back so that it is accepted as the same.
func FuzzParse(f *testing.F) {
	data, err := Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"generation":"x","hostname":"h","control":"/c","users":"/u","service":{"uid":1,"gid":1},"listeners":null,"tls":{"policy":"modern"},"workers":"inline"}`))
	f.Add([]byte(`{"a":{"b":[1,{"c":"d"}],"b":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c *Config
		var err error
		if oracle.Cost(t, len(data), func() { c, err = Parse(data) }); err != nil {
			return
		}
		encoded, err := Encode(c)
		if err != nil {
			t.Fatalf("parsed, but not encoded: %v", err)
		}
		again, err := Parse(encoded)
		if err != nil {
			t.Fatalf("encoded, but not parsed: %v\n%s", err, encoded)
		}
		twice, err := Encode(again)
		if err != nil || !bytes.Equal(twice, encoded) {
			t.Errorf("encoded twice: %v\n%s\n%s", err, encoded, twice)
		}
	})
}

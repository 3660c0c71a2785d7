package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nasty strings would, where they reach a path, a unit, a log or a terminal,
// be more than a string.
var nasty = []string{
	"..", "../x", "/../x", "/", "//x", "/x/../y", "x\nUser=root", "/x\nUser=root", "/x\x00y", "%i", "/x/%i", "/x y", "/x;y", "$(x)", "/x\"y", "-rf", "\x1b[2J", " ", "a\u202eb",
}

// Every string and every name of the schema, also of fields yet to come, is
// tried with each of them. What is accepted must be harmless (checkHost).
func TestNasty(t *testing.T) {
	fields, err := Fields()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, f := range fields {
		isMap, isString := f.Type == "struct by name", f.Type == "string" || strings.HasPrefix(f.Type, `"`) || strings.HasPrefix(f.Type, "list")
		if f.Path == "hosts" || !isMap && !isString {
			continue
		}
		tried++
		t.Run(f.Path, func(t *testing.T) {
			hosts := map[string]any{}
			for i, s := range nasty {
				hosts[fmt.Sprintf("h%d.example.org", i)] = nastyHost(t, f, isMap, s)
			}
			tryNasty(t, hosts)
		})
	}
	if tried < 20 {
		t.Errorf("tried %d fields, want at least 20", tried)
	}
	t.Run("hosts", func(t *testing.T) {
		hosts := map[string]any{}
		for _, s := range nasty {
			hosts[s] = nastyHost(t, Field{}, false, "")
		}
		tryNasty(t, hosts)
	})
}

// tryNasty loads the hosts, and then again those of them that have no fault.
func tryNasty(t *testing.T, hosts map[string]any) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "host.json")
	load := func() (*Config, error) {
		b, err := json.Marshal(map[string]any{"hosts": hosts})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return Load(Options{Inputs: []string{name}})
	}
	_, err := load()
	var faults Diagnostics
	if errors.As(err, &faults) {
		checkFaults(t, faults, name)
		maps.DeleteFunc(hosts, func(host string, _ any) bool {
			for _, d := range faults {
				if p := PathText([]string{"hosts", host}); d.Path == p || strings.HasPrefix(d.Path, p+".") {
					return true
				}
			}
			return false
		})
	}
	if len(hosts) == 0 {
		return
	}
	config, err := load()
	if err != nil {
		t.Fatalf("refused without the hosts that have a fault:\n%v", err)
	}
	for _, h := range config.Hosts {
		checkHost(t, h)
	}
}

// nastyHost is a sound host with s at the place of one field, or as a name in it.
func nastyHost(t *testing.T, f Field, isMap bool, s string) map[string]any {
	t.Helper()
	var host map[string]any
	if err := json.Unmarshal([]byte(`{"listeners": {"imap": {}}, "tls": {"certificates": {"mail.example.org": {"selfSigned": {}}}}}`), &host); err != nil {
		t.Fatal(err)
	}
	at, names := host, strings.Split(strings.TrimPrefix(f.Path, "hosts.NAME."), ".")
	for i, name := range names {
		if name == "NAME" {
			name = "x"
		}
		if i == len(names)-1 && !isMap {
			at[name] = s
			if strings.HasPrefix(f.Type, "list") {
				at[name] = []string{s}
			}
			break
		}
		next, ok := at[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[name] = next
		}
		at = next
	}
	if isMap {
		at[s] = map[string]any{}
	}
	if f.Path == "" {
		delete(host, "")
	}
	return host
}

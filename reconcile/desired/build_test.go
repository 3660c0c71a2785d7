package desired

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailstead/reconcile"
	"mailstead/schema"
)

// decided are the attributes that Build decides; the kinds add others.
var decided = []string{
	"uid", "path", "home", "mode", "owner", "group", "use", "subscribed", "source", "certificate", "key", "days",
	"fingerprint", "bundle", "stitched", "run", "enabled", "reads", "generation",
}

// summary writes a list of resources as text: a line for each with what Build
// decided, then what it needs and what it waits for.
func summary(list []reconcile.Resource) string {
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%s (%s)", r.Ref, r.Origin)
		for _, a := range r.Attrs {
			if slices.Contains(decided, a.Name) && a.Value != "" {
				fmt.Fprintf(&b, " %s=%s", a.Name, a.Value)
			}
		}
		b.WriteString("\n")
		for _, n := range r.Needs {
			fmt.Fprintf(&b, "\tneeds %s\n", n)
		}
		if r.Blocked != nil {
			fmt.Fprintf(&b, "\tblocked: %s", r.Blocked.Reason)
			if r.Blocked.Command != "" {
				fmt.Fprintf(&b, ": %s", r.Blocked.Command)
			}
			b.WriteString("\n")
		}
		if r.Unreadable != "" {
			fmt.Fprintf(&b, "\tunreadable: %s\n", r.Unreadable)
		}
	}
	return b.String()
}

// scenario is a description with a host.
type scenario struct {
	Inputs  []string // what to load; empty: the archive's own files
	Options Options
	Facts   reconcile.Facts
}

// Each archive holds scenario.json, the description (or its place) and, as
// golden files, the resources (or the faults) and the daemon's two files.
func TestBuild(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			full, err := filepath.Abs(name)
			if err != nil {
				t.Fatal(err)
			}
			inputs, want, got := play(t, a)
			if os.Getenv("MAILSTEAD_UPDATE") == "1" {
				a.Files = append(inputs, got...)
				if err := os.WriteFile(full, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(texts(want), texts(got)); diff != "" {
				t.Errorf("(-want +got; MAILSTEAD_UPDATE=1 writes it):\n%s", diff)
			}
		})
	}
}

// play parts an archive into inputs and golden files, and makes the latter anew.
func play(t *testing.T, a *txtar.Archive) (inputs, want, got []txtar.File) {
	t.Helper()
	inputs, want = split(a)
	s, host := load(t, inputs)
	list, err := Build(host, s.Facts, s.Options)
	if err != nil {
		faults, ok := err.(schema.Diagnostics)
		if !ok {
			t.Fatal(err)
		}
		return inputs, want, []txtar.File{{Name: "faults", Data: []byte(faultText(faults))}}
	}
	again, err := Build(host, s.Facts, s.Options)
	if diff := cmp.Diff(list, again); diff != "" || err != nil {
		t.Errorf("built twice: %v\n%s", err, diff)
	}
	got = append(got, txtar.File{Name: "resources", Data: []byte(summary(list))})
	for _, r := range list {
		if name := filepath.Base(r.Ref.Name); slices.Contains(golden, name) {
			got = append(got, txtar.File{Name: name, Data: []byte(r.Get("content"))})
		}
	}
	return inputs, want, got
}

// golden are the files of an archive that are made anew.
var golden = []string{"resources", "faults", "config.json", "users.ndjson"}

func split(a *txtar.Archive) (inputs, want []txtar.File) {
	for _, f := range a.Files {
		if slices.Contains(golden, f.Name) {
			want = append(want, f)
		} else {
			inputs = append(inputs, f)
		}
	}
	return inputs, want
}

func load(t *testing.T, inputs []txtar.File) (scenario, *schema.Host) {
	t.Helper()
	var s scenario
	dir := t.TempDir()
	for _, f := range inputs {
		if f.Name == "scenario.json" {
			d := json.NewDecoder(bytes.NewReader(f.Data))
			d.DisallowUnknownFields()
			if err := d.Decode(&s); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Inputs) == 0 {
		s.Inputs = []string{"."}
	} else {
		dir = "../.."
	}
	t.Chdir(dir)
	config, err := schema.Load(schema.Options{Inputs: s.Inputs})
	if err != nil {
		t.Fatal(err)
	}
	return s, config.Hosts[0]
}

func faultText(faults schema.Diagnostics) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "%s: %s: %s: %s\n\thint: %s\n", f.Pos, f.Path, f.Code, f.Message, f.Hint)
	}
	return b.String()
}

func texts(files []txtar.File) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		out[f.Name] = string(f.Data)
	}
	return out
}

// archive loads a scenario of testdata.
func archive(t *testing.T, name string) (scenario, *schema.Host) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	inputs, _ := split(a)
	return load(t, inputs)
}

// TestDaemonServesChains: what the daemon is to serve is the whole chain, of the source
// or, where that cannot be used, of what is installed.
func TestDaemonServesChains(t *testing.T) {
	for want, c := range map[string]reconcile.Certificate{
		"whole": {Fingerprint: "f", Chain: "whole", Installed: "f", InstalledChain: "leaf"},
		"leaf":  {Fault: "expired", Installed: "f", InstalledChain: "leaf"},
	} {
		t.Run(want, func(t *testing.T) {
			s, host := archive(t, "example-single")
			s.Facts.Certificates = map[string]reconcile.Certificate{"mail.example.org": c}
			list, err := Build(host, s.Facts, s.Options)
			if err != nil {
				t.Fatal(err)
			}
			if got := list[len(list)-1].Get("chain mail.example.org"); got != want {
				t.Errorf("%s: chain %q, want %q", list[len(list)-1].Ref, got, want)
			}
		})
	}
}

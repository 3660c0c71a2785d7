package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/schema"
)

// TestReadme holds the README's first blocks to the truth: the description is
// an example, and the plan is what is printed for it on a Debian 12 with the
// account alice and her certificate, on which nothing of Mailstead's is yet.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	description, err := os.ReadFile("../../examples/single/host.cue")
	if err != nil {
		t.Fatal(err)
	}
	_, hosts, _ := strings.Cut(string(description), "\nhosts:")
	if block := "```cue\nhosts:" + hosts + "```\n"; !strings.Contains(string(readme), block) {
		t.Errorf("README.md does not have the description of examples/single:\n%s", block)
	}
	config, err := schema.Load(schema.Options{Inputs: []string{"../../examples/single"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writePlan(&console{}, &out, firstPlan(t, config.Hosts[0]), false)
	if block := "```\n$ mailstead plan\n" + out.String() + "```\n"; !strings.Contains(string(readme), block) {
		t.Errorf("README.md does not have this block:\n%s", block)
	}
}

func firstPlan(t *testing.T, host *schema.Host) *reconcile.Plan {
	t.Helper()
	facts := reconcile.Facts{
		Hostname: "mail", Systemd: 252, Root: true, PAMHelper: true, FreeIDs: []int{999, 998},
		Accounts:     map[string]reconcile.Account{"alice": {UID: 1000, GID: 1000, Home: "/home/alice"}},
		Certificates: map[string]reconcile.Certificate{"mail.example.org": {Fingerprint: "ab", Chain: "cd"}},
	}
	want, err := desired.Build(host, facts, desired.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var kinds kind.Host
	defer kinds.Close()
	plan := reconcile.Diff(reconcile.Inputs{Host: host.Name, Table: kinds.Table(), Want: want}, nil, nil)
	plan.People = &reconcile.People{LastKnown: true}
	return plan
}

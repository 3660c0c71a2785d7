package wire

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/imap.md is made of the tables of this package.
func TestDocs(t *testing.T) {
	const name = "../../docs/imap.md"
	want := document(t)
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the tables say; run: MAILSTEAD_UPDATE=1 go test ./imapserver/wire -run TestDocs", name)
	}
}

func document(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# What the daemon speaks

Made from the tables of ` + "`imapserver/wire`" + `; do not edit it here.

## Capabilities

"In the clear" is a listener on a loopback address that allows a login without TLS.

| capability | RFC | before TLS | in the clear | under TLS | after login | for ENABLE |
|---|---|---|---|---|---|---|
`)
	for _, row := range Capabilities {
		fmt.Fprintf(&b, "| %s | %s |", row.Name, rfcOf(row.RFC))
		for _, phase := range []Phase{PhaseNoTLS, PhaseClear, PhaseTLS, PhaseAuth} {
			b.WriteString(cell(row.When&phase != 0))
		}
		b.WriteString(cell(FindEnable(row.Name) != nil))
		b.WriteString("\n")
	}
	b.WriteString(`
## Commands

| command | RFC | extension | before login | after login | with a mailbox selected |
|---|---|---|---|---|---|
`)
	for _, row := range Commands {
		fmt.Fprintf(&b, "| %s | %s | %s |", row.Name, rfcOf(row.RFC), row.Cap)
		for _, state := range []State{NotAuthenticated, Authenticated, Selected} {
			b.WriteString(cell(row.States&state != 0))
		}
		b.WriteString("\n")
	}
	b.WriteString(`
## What it does not speak

| extension | RFC | why |
|---|---|---|
`)
	for _, row := range Undone {
		if slices.ContainsFunc(Capabilities, func(r CapabilityRow) bool { return r.Name == row.Name }) {
			t.Errorf("%s is advertised, and said not to be done", row.Name)
		}
		fmt.Fprintf(&b, "| %s | %d | %s |\n", row.Name, row.RFC, row.Why)
	}
	b.WriteString("\nHow long and how many the parts of a command may be is in [limits.md](limits.md).\n")
	return b.String()
}

func cell(yes bool) string {
	if yes {
		return " yes |"
	}
	return " |"
}

func rfcOf(number int) string {
	if number == 0 {
		return "none"
	}
	return fmt.Sprint(number)
}

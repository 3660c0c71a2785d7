package limit

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Every field of a set is in exactly one row, so that nothing is bounded outside
// of the manual.
func TestEveryFieldHasARow(t *testing.T) {
	var s Set
	rows := map[any]int{}
	for _, row := range Table {
		rows[row.at(&s)]++
	}
	for _, row := range Commands {
		rows[row.at(&s.Before)]++
		rows[row.at(&s.After)]++
	}
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		for j := range v.Field(i).NumField() {
			name := v.Type().Field(i).Name + "." + v.Field(i).Type().Field(j).Name
			if n := rows[v.Field(i).Field(j).Addr().Interface()]; n != 1 {
				t.Errorf("%s is in %d rows", name, n)
			}
		}
	}
}

func TestRows(t *testing.T) {
	names := map[string]bool{}
	word := regexp.MustCompile(`^[a-z][A-Za-z]+$`)
	for _, row := range Table {
		if row.Name == "" {
			continue
		}
		if names[row.Name] || !word.MatchString(row.Name) {
			t.Errorf("%q is there twice or is no name of a field", row.Name)
		}
		names[row.Name] = true
		if row.Default < row.Min || row.Default > row.Max {
			t.Errorf("%s: %d is not from %d to %d", row.Name, row.Default, row.Min, row.Max)
		}
		var s Set
		put(row.at(&s), 7)
		if got := fmt.Sprint(reflect.ValueOf(row.at(&s)).Elem().Interface()); got != "7" && got != "7s" {
			t.Errorf("%s is stored as %s", row.Name, got)
		}
	}
}

func TestWith(t *testing.T) {
	s := Default()
	if s.Login.Lifetime != time.Minute || s.Before.Line != 8192 || s.After.Nesting != 128 || s.Auth.SourceMinute != 10 {
		t.Errorf("the defaults: %+v", s)
	}
	other := s.With(map[string]int64{"loginTime": 90, "guessesPerAddress": 20})
	if other.Login.Lifetime != 90*time.Second || other.Auth.SourceMinute != 20 || s.Login.Lifetime != time.Minute {
		t.Errorf("with others: %+v", other)
	}
	if other.Login.Lifetime, other.Auth.SourceMinute = s.Login.Lifetime, s.Auth.SourceMinute; other != s {
		t.Error("With changes what it was not told to")
	}
}

func TestCheck(t *testing.T) {
	if faults := Check(map[string]int64{"loginTime": 30, "waiting": 100_000}); faults != nil {
		t.Error(faults)
	}
	want := "[: there is no such limit loginTime: 29 is not from 30 to 600 nonsense: there is no such limit waiting: 100001 is not from 20 to 100000]"
	if got := fmt.Sprint(Check(map[string]int64{"loginTime": 29, "waiting": 100_001, "nonsense": 1, "": 5})); got != want {
		t.Errorf("%s", got)
	}
}

// The schema imports nothing of the daemon's: its part is written from the table.
func TestSchema(t *testing.T) {
	var b strings.Builder
	b.WriteString(`package schema

// Limits is what clients may cost, as imapserver/limit has it, from which this file is
// made. All listeners of a host count together.
#Limits: {
`)
	for _, row := range Table {
		if row.Name == "" {
			continue
		}
		meaning := strings.ToUpper(row.Meaning[:1]) + row.Meaning[1:]
		fmt.Fprintf(&b, "\t// %s. Default: %d.\n", meaning, row.Default)
		fmt.Fprintf(&b, "\t%s?: (int & >=%d & <=%d) | error(\"must be a number from %[2]d to %[3]d\") @impact(reload) @example(%d)\n\n", row.Name, row.Min, row.Max, example(row))
	}
	same(t, "../../schema/limits.cue", strings.TrimSuffix(b.String(), "\n")+"}\n")
}

// example is a value that is not the default.
func example(r Row) int64 {
	if r.Default*2 <= r.Max {
		return max(r.Default*2, r.Min)
	}
	return r.Max
}

func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Limits\n\nMade from the table of `imapserver/limit`; do not edit it here.\n" + `
## Of connections, sessions and guesses

Those with a name are set in the description, as in ` + "`limits: sessionsPerUser: 100`" + `; a reload takes them over, and connections that there are keep theirs.
An address is an IPv4 address or a /64 of IPv6.

All listeners of a host count together, also while auth is away: each is a process that counts where the others can read it. Where one is taken over and says of everything that
there is too much, the others are not shut by that: a tenth of ` + "`waiting` and of `sessions`" + ` is kept for the listeners, in equal parts, and the first of an address at a listener is let in whatever the others have of it,
so that an address may have one more at each of them than the table says. The same keeps a flood at one listener off the others. By each listener alone are counted: the sources with a login that are remembered, and at
a proxy guesses and the sessions of a user, who is another server's.

Where one is met the log says so, with the reason (` + "`connection refused`, `login refused`, `login failed`" + `: [logs.md](logs.md)), and it is counted by reason (` + "`mailstead_refusals_total`" + `:
[metrics.md](metrics.md)). They promise no resources: a login has 262,144 descriptors (LimitNOFILE of its unit), of which a session takes two; ` + "`mailstead doctor`" + ` says where these run out, and where they, ` + "`MemoryMax`" + ` or the memory
of the host are fewer than ` + "`sessions`" + ` and the users there are may ask for, with the sums (` + "`limit-promise`" + `; what a session costs is in ` + "`imapserver/limit/cost.go`" + `).

| name | default | from | to | meaning |
|---|---|---|---|---|
`)
	for _, row := range Table {
		if row.Name != "" {
			fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %s |\n", row.Name, row.Default, row.Min, row.Max, row.Meaning)
		}
	}
	b.WriteString("\nThe others are not for setting:\n\n| limit | meaning |\n|---|---|\n")
	for _, row := range Table {
		if row.Name == "" {
			fmt.Fprintf(&b, "| %s | %s |\n", strings.TrimSpace(fmt.Sprint(row.Default, " ", row.Unit)), row.Meaning)
		}
	}
	b.WriteString(`
## Of a command

What lies beyond is refused: by BAD or NO with TOOBIG or LIMIT where the two sides can stay in step, otherwise by BYE.

| limit | before login | after login |
|---|---|---|
`)
	for _, row := range Commands {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", row.Meaning, row.Before, row.After)
	}
	same(t, "../../docs/limits.md", b.String())
}

// same wants a file that is made from the table to be what it would be now.
func same(t *testing.T, name, want string) {
	t.Helper()
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
		t.Errorf("%s is not what the table says; run: MAILSTEAD_UPDATE=1 go test ./imapserver/limit", name)
	}
}

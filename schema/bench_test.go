package schema_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/schema"
)

// manyUsers writes a host whose users are in JSON, every other one virtual.
func manyUsers(t testing.TB, n int) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "host.cue"), []byte(`hosts: "mail.example.org": {
	listeners: imaps: {}
	tls: certificates: "mail.example.org": certbot: {}
	folders: {Sent: use: "sent", Trash: use: "trash"}
	policies: staff: folders: Sent: use: "sent"
}
`))
	var b strings.Builder
	b.WriteString(`{"hosts": {"mail.example.org": {"users": {` + "\n")
	for i := range n {
		if i > 0 {
			b.WriteString(",\n")
		}
		if i%2 == 0 {
			fmt.Fprintf(&b, `"user%05d@example.org": {"password": {"hash": "$6$saltsalt%05d$%086d"}, "policy": "staff"}`, i, i, i)
		} else {
			fmt.Fprintf(&b, `"user%05d": {"uid": %d, "home": "/home/user%05d", "folders": {"Archive": {"use": "archive"}}}`, i, 1000+i, i)
		}
	}
	b.WriteString("\n}}}}\n")
	write(t, filepath.Join(dir, "users.json"), []byte(b.String()))
	return dir
}

// Loading is linear in the users: 10,000 take about a second on two cores.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := manyUsers(b, n)
			for b.Loop() {
				if _, err := schema.Load(schema.Options{Inputs: []string{dir}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/user")
		})
	}
}

func TestManyUsers(t *testing.T) {
	const n = 2000
	config, err := schema.Load(schema.Options{Inputs: []string{manyUsers(t, n)}})
	if err != nil {
		t.Fatal(err)
	}
	users := config.Hosts[0].Users
	if len(users) != n {
		t.Fatalf("%d users, want %d", len(users), n)
	}
	if got := users[n-1].Origin; got.File != "users.json" || got.Line < 2 || got.Line > n+1 {
		t.Errorf("origin of the last user is %v, want a line of users.json", got)
	}
	if len(users[0].Folders) != 1 || len(users[1].Folders) != 3 {
		t.Errorf("users have %d and %d folders, want 1 (the policy's) and 3 (the host's and their own)", len(users[0].Folders), len(users[1].Folders))
	}
}

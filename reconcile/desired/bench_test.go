package desired

import (
	"fmt"
	"testing"

	"mailstead/schema"
)

// Ten thousand users with five folders each.
func BenchmarkBuild(b *testing.B) {
	h := goodHost()
	folders := make([]schema.Folder, 5)
	for i := range folders {
		folders[i] = schema.Folder{Name: fmt.Sprintf("Folder%d", i), Subscribed: true}
	}
	for i := range 10_000 {
		u := schema.User{Name: fmt.Sprintf("user%05d", i), Virtual: &schema.VirtualUser{PasswordHash: "$y$j9T$c2FsdA$aGFzaA"}, Folders: folders}
		u.Maildir = h.Mail.Root + "/" + u.Name + "/Maildir"
		h.Users = append(h.Users, u)
	}
	facts := goodFacts(h, true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(h, facts, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

package main

import (
	"fmt"

	"mailstead/reconcile/kind"
)

// exposureNotes says which passwords every user of the host can read. Of a key whose
// certificate waits for that, the plan says it by the certificate.
func (l *look) exposureNotes() (notes []string) {
	for _, f := range passwordFiles(l.host) {
		if kind.Exposed(f.Path) {
			notes = append(notes, fmt.Sprintf("%s: the %s, %s, can be read by every user of the host: chmod o-rwx it, and replace the password if somebody may have read it", f.Origin, f.What, f.Path))
		}
	}
	return notes
}

package main

import (
	"fmt"

	"mailstead/reconcile"
	"mailstead/render"
)

// pamNotes says that the rules by which system users log in are not there any more.
// PAM would go by those of its service "other" without a word, and mailstead-pam lets
// nobody in.
func pamNotes(plan *reconcile.Plan) []string {
	for _, c := range plan.Changes {
		if c.Ref.Kind == "pam-service" && c.Op == reconcile.Create && c.Drift != nil {
			return []string{fmt.Sprintf("no account of the host can log in: %s was removed, and the rules of PAM's service \"other\" do not count; \"mailstead apply\" writes it", render.PAMFile)}
		}
	}
	return nil
}

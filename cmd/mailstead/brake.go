package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/render"
	"mailstead/schema"
)

// addRemoveUsers gives a command the flag that lets go of the brake.
func addRemoveUsers(cmd *cobra.Command, number *int) {
	cmd.Flags().IntVar(number, "remove-users", 0, "confirm that exactly so many `users` vanish from the description: many at once are refused otherwise")
}

// brake refuses a plan by which many users vanish at once, as when their file was
// cut short, unless the command names their number. Nobody can name it while
// the machine comes up: then the host stays as it is, and the unit fails.
func brake(plan *reconcile.Plan, p *reconcile.People, confirmed int, boot bool) error {
	if p == nil || !slices.ContainsFunc(plan.Changes, func(c reconcile.Change) bool { return c.Ref.Kind == "password-file" }) {
		return nil
	}
	gone := len(p.Vanish)
	switch {
	case gone > 0 && confirmed == gone, confirmed == 0 && !p.Braked(), gone == 0:
		return nil
	case confirmed != 0:
		return hint(fmt.Errorf("nothing was applied: %s, not %d", brakeReason(p), confirmed), "look whether the list of users is whole; %s confirms it", removeFlag(p))
	case boot:
		return hint(fmt.Errorf("nothing was applied, and the host stays as it was: %s", brakeReason(p)),
			"look whether the list of users is whole; if they are to go, run %q", "mailstead apply "+removeFlag(p))
	}
	return hint(fmt.Errorf("nothing was applied: %s", brakeReason(p)), "look whether the list of users is whole; if they are to go, give %s", removeFlag(p))
}

// brakeReason says how many users vanish.
func brakeReason(p *reconcile.People) string {
	if p.Users == 0 {
		return fmt.Sprintf("all %d users vanish from the description", len(p.Vanish))
	}
	return fmt.Sprintf("%d of %d users vanish from the description", len(p.Vanish), p.Were)
}

func removeFlag(p *reconcile.People) string { return fmt.Sprintf("--remove-users %d", len(p.Vanish)) }

// knownUsers are the names in the daemon's list of users: who could log in last
// where nothing else says it.
func knownUsers(paths schema.Paths) ([]string, error) {
	data, err := os.ReadFile(render.UsersFile(paths))
	if err != nil {
		return nil, err
	}
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		var u struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
			return nil, errors.New("it is damaged")
		}
		if u.Name != "" { // the first line counts them
			names = append(names, u.Name)
		}
	}
	return names, lines.Err()
}

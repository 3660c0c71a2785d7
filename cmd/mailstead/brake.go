package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/render"
	"mailstead/schema"
)

// confirmed are the numbers by which a command lets go of the brakes; 0: none was named.
type confirmed struct {
	users   int // that vanish
	inboxes int // that mail is to be removed from
}

func (n *confirmed) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&n.users, "remove-users", 0, "confirm that exactly so many `users` vanish from the description: many at once are refused otherwise")
	cmd.Flags().IntVar(&n.inboxes, "purge-inboxes", 0, "confirm that a new rule removes mail from the `inboxes` of exactly so many users, which is refused otherwise")
}

// brake refuses a plan that is likelier a mistake than a wish, unless the command names its number.
func brake(plan *reconcile.Plan, p *reconcile.People, n confirmed, boot bool) error {
	if err := brakeUsers(plan, p, n.users, boot); err != nil {
		return err
	}
	return brakeInboxes(plan, p, n.inboxes, boot)
}

// brakeInboxes refuses a plan by which mail will be removed from inboxes.
func brakeInboxes(plan *reconcile.Plan, p *reconcile.People, confirmed int, boot bool) error {
	if p == nil || confirmed == len(p.Inboxes) || confirmed == 0 && !p.InboxBraked() || len(p.Inboxes) == 0 || !slices.ContainsFunc(plan.Changes, isPurgeFile) {
		return nil
	}
	err, flag := fmt.Errorf("nothing was applied: %s", inboxReason(p)), purgeFlag(p)
	switch {
	case confirmed != 0:
		return hint(fmt.Errorf("%w, not %d", err, confirmed), "look which users the rule for INBOX is for; %s confirms it", flag)
	case boot:
		return hint(fmt.Errorf("%w, and the host stays as it was", err), "look which users the rule for INBOX is for; if it is meant, run %q", "mailstead apply "+flag)
	}
	return hint(err, "look which users the rule for INBOX is for; if it is meant, give %s", flag)
}

func isPurgeFile(c reconcile.Change) bool {
	return c.Ref.Kind == "file" && path.Base(c.Ref.Name) == path.Base(render.PurgeFile(schema.Paths{}))
}

// inboxReason says how many inboxes mail is removed from.
func inboxReason(p *reconcile.People) string {
	return fmt.Sprintf("a new rule removes mail from the inboxes of %s", number(len(p.Inboxes), "user"))
}

func purgeFlag(p *reconcile.People) string { return fmt.Sprintf("--purge-inboxes %d", len(p.Inboxes)) }

// brakeLines say what apply refuses of a plan, and what has it do that.
func brakeLines(p *reconcile.People) (lines []string) {
	const unless = "; apply refuses that unless it is given "
	if p.Braked() {
		lines = append(lines, brakeReason(p)+unless+removeFlag(p))
	}
	if p.InboxBraked() {
		lines = append(lines, inboxReason(p)+unless+purgeFlag(p))
	}
	return lines
}

// brakeUsers refuses a plan by which many users vanish at once, as when their file was
// cut short, unless the command names their number. Nobody can name it while
// the machine comes up: then the host stays as it is, and the unit fails.
func brakeUsers(plan *reconcile.Plan, p *reconcile.People, confirmed int, boot bool) error {
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

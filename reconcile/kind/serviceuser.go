package kind

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"mailstead/reconcile"
)

// ServiceUser is a system account without a login, with a group of its own. It
// is made if it is missing and never removed or changed. Its uid is known before
// it is made, since files that are planned with it hold the number (the daemon's
// configuration, the users, every Maildir of a virtual user): that of the account
// that is there, otherwise one of Facts.FreeIDs, which becomes the gid too.
func ServiceUser(name string, uid int, home, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    ServiceUserRef(name),
		Origin: origin,
		Attrs: []reconcile.Attr{
			{Name: "uid", Value: strconv.Itoa(uid), Impact: reconcile.Data},
			{Name: "home", Value: home, Impact: reconcile.Live},
		},
	}
}

// ServiceUserRef names a system account.
func ServiceUserRef(name string) reconcile.Ref {
	return reconcile.Ref{Kind: "service-user", Name: name}
}

var (
	accountName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)
	// What would mean something to sysusers.d(5) is not let through.
	accountHome = regexp.MustCompile(`^/[A-Za-z0-9/._-]*$`)
)

func observeServiceUser(ctx context.Context, ask reconcile.Ask) (*reconcile.Resource, error) {
	a, ok, err := LookupAccount(ctx, ask.Ref.Name)
	if err != nil || !ok {
		return nil, err
	}
	if a.UID == 0 {
		return nil, fmt.Errorf("account %s is root: name another one", ask.Ref.Name)
	}
	return found(ask.Resource, value{name: "uid", value: strconv.Itoa(a.UID)}), nil
}

func applyServiceUser(ctx context.Context, c reconcile.Change) error {
	name, uid, home := c.Ref.Name, c.Want.Get("uid"), c.Want.Get("home")
	if c.Have != nil {
		return fmt.Errorf("account %s has the uid %s, and this plan's files say %s: plan again", name, c.Have.Get("uid"), uid)
	}
	if !accountName.MatchString(name) || !accountHome.MatchString(home) {
		return fmt.Errorf("make account %q with home %q: not names that a system account can have", name, home)
	}
	if _, err := strconv.ParseUint(uid, 10, 31); err != nil {
		return fmt.Errorf("make account %s: uid %w", name, err)
	}
	_, err := run(ctx, "systemd-sysusers", "--inline", fmt.Sprintf("g %s %s", name, uid), fmt.Sprintf("u %s %s \"Mailstead\" %s -", name, uid, home))
	if errors.Is(err, exec.ErrNotFound) {
		if _, err := run(ctx, "groupadd", "--system", "--gid", uid, name); err != nil {
			return fmt.Errorf("make account: %w", err)
		}
		_, err = run(ctx, "useradd", "--system", "--uid", uid, "--gid", name, "--no-create-home",
			"--home-dir", home, "--shell", "/usr/sbin/nologin", "--comment", "Mailstead", name)
	}
	if err != nil {
		return fmt.Errorf("make account: %w", err)
	}
	// Where the uid was taken meanwhile, systemd-sysusers gives another one.
	a, ok, err := LookupAccount(ctx, name)
	switch {
	case err != nil:
		return fmt.Errorf("make account: %w", err)
	case !ok || strconv.Itoa(a.UID) != uid || a.GID != a.UID:
		return fmt.Errorf("make account %s: it did not get the uid and the gid %s, which somebody else has by now: plan again", name, uid)
	}
	return nil
}

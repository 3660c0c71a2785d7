package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"

	"mailstead/reconcile"
)

// LookupAccount finds a system account, wherever the host keeps it. ok is false
// if there is none.
func LookupAccount(ctx context.Context, name string) (a reconcile.Account, ok bool, err error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return getentPasswd(ctx, name)
	}
	if err != nil {
		return a, false, fmt.Errorf("look up account %s: %w", name, err)
	}
	return parseAccount(name, u.Uid, u.Gid, u.HomeDir)
}

// getentPasswd asks the C library's switch. A program that was built without
// cgo reads /etc/passwd alone, and accounts may be in LDAP.
func getentPasswd(ctx context.Context, name string) (a reconcile.Account, ok bool, err error) {
	out, err := run(ctx, "getent", "--", "passwd", name)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 || errors.Is(err, exec.ErrNotFound) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("look up account %s: %w", name, err)
	}
	f := strings.Split(strings.TrimSpace(out), ":")
	if len(f) < 7 || f[0] != name {
		return a, false, fmt.Errorf("look up account %s: getent says %q", name, out)
	}
	return parseAccount(name, f[2], f[3], f[5])
}

func parseAccount(name, uid, gid, home string) (a reconcile.Account, ok bool, err error) {
	a.Home = home
	if a.UID, err = strconv.Atoi(uid); err == nil {
		a.GID, err = strconv.Atoi(gid)
	}
	if err != nil {
		return a, false, fmt.Errorf("look up account %s: %w", name, err)
	}
	if g, err := user.LookupGroupId(gid); err == nil {
		a.Group = g.Name
	}
	return a, true, nil
}

// ownerIDs gives the numbers of the names in the attributes owner and group.
func ownerIDs(ctx context.Context, owner, group string) (uid, gid int, err error) {
	uid, gid = os.Geteuid(), os.Getegid()
	if owner != Self {
		a, ok, err := LookupAccount(ctx, owner)
		if err != nil {
			return 0, 0, err
		}
		if !ok {
			return 0, 0, fmt.Errorf("no account %s", owner)
		}
		uid = a.UID
	}
	if group != Self {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, fmt.Errorf("look up group %s: %w", group, err)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return 0, 0, fmt.Errorf("look up group %s: %w", group, err)
		}
	}
	return uid, gid, nil
}

// ownerNames gives names for numbers; the wanted ones where they are right. What
// is root's is as good as one's own: an ordinary user may plan for root.
func ownerNames(ctx context.Context, uid, gid int, owner, group string) (string, string) {
	wantUID, _, err := ownerIDs(ctx, owner, Self)
	if (err != nil || wantUID != uid) && !(owner == Self && uid == 0) {
		owner = strconv.Itoa(uid)
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
		}
	}
	_, wantGID, err := ownerIDs(ctx, Self, group)
	if (err != nil || wantGID != gid) && !(group == Self && gid == 0) {
		group = strconv.Itoa(gid)
		if g, err := user.LookupGroupId(group); err == nil {
			group = g.Name
		}
	}
	return owner, group
}

// run runs one of the host's programs and gives its standard output.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	path, err := program(name)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, path, args...)
	c.Env = []string{"PATH=" + programPath, "LC_ALL=C"}
	c.Dir = "/"
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			return "", fmt.Errorf("%s: %w: %s", name, err, text)
		}
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return stdout.String(), nil
}

const programPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// program finds one of the host's programs, whatever the caller's PATH says.
func program(name string) (string, error) {
	for _, dir := range strings.Split(programPath, ":") {
		path := dir + "/" + name
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

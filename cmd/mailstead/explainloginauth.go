package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailstead/imapserver/control"
	"mailstead/reconcile/target"
	"mailstead/render"
	"mailstead/schema"
)

// addressText writes where a listener listens; "*" is every address.
func addressText(address string, port int) string {
	if address == "" {
		address = "*"
	}
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// described is the user as the description has them, nil if it has none.
func (w *loginWalk) described() *schema.User {
	name := calledUser(w.host, w.User)
	i := slices.IndexFunc(w.host.Users, func(u schema.User) bool { return u.Name == name })
	if i < 0 {
		return nil
	}
	return &w.host.Users[i]
}

// userOrigin is where the user is described, or the directory that knows them.
func (w *loginWalk) userOrigin() string {
	if u := w.described(); u != nil {
		return u.Origin.String()
	}
	if w.whose != nil {
		return w.directoryOrigin(w.whose.Directory)
	}
	return w.host.Origin.String()
}

func (w *loginWalk) directoryOrigin(name string) string {
	for _, d := range w.host.Directories {
		if d.Name == name {
			return d.Origin.String()
		}
	}
	return w.host.Origin.String()
}

// fieldOrigin is where a field of the host is written, or the host where it is not.
func (w *loginWalk) fieldOrigin(path string) string {
	if pos, ok := w.host.Origins[path]; ok && pos.File != "" {
		return pos.String()
	}
	return w.host.Origin.String()
}

// atAuth has the daemon say who would be asked, and what they say.
func (w *loginWalk) atAuth(ctx context.Context) {
	answer, err := control.Ask(ctx, render.ControlSocket(w.host.Paths), control.Request{Verb: control.VerbExplainLogin, User: w.User,
		Login: &control.LoginQuestion{Listener: w.listener.Name, Address: w.From, Password: w.password}})
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil || answer.Login == nil {
		w.add(loginStep{Step: "users", Came: control.StepUntold, Seen: fmt.Sprintf("the daemon does not say: %v", err), Origin: w.host.Origin.String(), Remedy: "Restart the daemon, if it is older than this program: mailstead apply."})
		return
	}
	w.whose = answer.Login.User
	for _, s := range answer.Login.Steps {
		step := loginStep{Step: s.Step, Came: s.Came, Seen: s.Seen, Origin: w.host.Origin.String()}
		if s.Of != "" {
			step.Step += " " + s.Of
		}
		w.authOrigin(&step, s)
		w.add(step)
		w.proven = w.proven || w.password != "" && s.Came == control.StepOK && (s.Step == "pam" || s.Step == "app password")
	}
	if m := answer.Login.Mechanisms; len(m) > 0 {
		w.add(loginStep{Step: "mechanisms", Came: control.StepOK, Seen: "beside a password, the listener takes " + strings.Join(m, ", "), Origin: w.fieldOrigin("logins")})
	}
}

// authOrigin says which field is behind a step of the daemon's, and what to do where
// the way ends there.
func (w *loginWalk) authOrigin(step *loginStep, s control.LoginStep) {
	remedy := ""
	switch s.Step {
	case "name":
		step.Origin, remedy = w.userOrigin(), "Log in with the name as it is described."
	case "limits":
		step.Origin, remedy = w.fieldOrigin("limits"), "Wait, or find out who guesses: journalctl -u 'mailstead-login@*' has the addresses. The limits are limits: guessesPerUser and guessesPerAddress."
	case "app password":
		step.Origin, remedy = w.fieldOrigin("logins"), "mailstead app-password list --user "+w.User
	case "pam":
		step.Origin, remedy = w.userOrigin(), "journalctl -u mailstead-imapd has the reason; the rules are "+render.PAMFile
	case "directory":
		step.Origin, remedy = w.directoryOrigin(s.Of), "Ask the directory itself, with its own tools; the account may be locked or expired there."
	default:
		step.Origin = w.userOrigin()
		switch {
		case w.described() == nil:
			remedy = "Write the user into the description, and apply; or log in under the name that it has."
			if near := nearUser(w.host, w.User); near != "" {
				remedy = fmt.Sprintf("Log in as %s, if that is who is meant; or write the user into the description, and apply.", near)
			}
		case w.whose == nil:
			remedy = "The description has the user, and the daemon does not yet: mailstead apply."
		default:
			remedy = "Set another password in the description (mailstead hash-password), and apply."
		}
	}
	if s.Down {
		remedy = "Find out why it does not answer; nobody's password is wrong for that."
	}
	if list := w.facts.PAMAskers; s.Step == "pam" && len(list) > 0 && !w.host.PAM.Asks() {
		remedy = "What asks servers reaches none as long as the description says pam: network: false: " + strings.Join(list, ", ")
	}
	if s.Came == control.StepEnds {
		step.Remedy = remedy
	}
}

// atAccount looks at the account of a system user: PAM refuses whom it has locked or
// expired, whatever the password is.
func (w *loginWalk) atAccount() {
	u := w.described()
	if u == nil || u.System == nil || w.opts.Rootless {
		return
	}
	step := loginStep{Step: "account", Origin: u.Origin.String()}
	service := render.PAMFile
	rules, err := os.ReadFile(service)
	if errors.Is(err, fs.ErrNotExist) {
		step.Came, step.Seen, step.Remedy = control.StepEnds, "there are no rules for PAM: "+service+" is missing", "Run mailstead apply."
		w.add(step)
		return
	}
	line, err := shadowLine("/etc/shadow", u.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		step.Came, step.Seen = control.StepUntold, "it is not in /etc/shadow: PAM asks somebody else about it"
	case err != nil:
		step.Came, step.Seen, step.Remedy = control.StepUntold, err.Error(), "Run this as root."
	default:
		step.Came, step.Seen, step.Remedy = line.judge(u.Name, time.Now(), w.proven, target.PAMProvers(os.DirFS("/"), service, rules))
	}
	w.add(step)
}

// shadow is what a line of shadow(5) says beside the hash. Days count from 1970; -1
// is none.
type shadow struct {
	locked, never, empty      bool
	changed, longest, expires int
}

// shadowLine reads the line of an account; the error is fs.ErrNotExist if it has none.
func shadowLine(path, user string) (s shadow, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 8 || fields[0] != user {
			continue
		}
		day := func(i int) int {
			if n, err := strconv.Atoi(fields[i]); err == nil && n >= 0 {
				return n
			}
			return -1
		}
		return shadow{
			locked: strings.HasPrefix(fields[1], "!"), never: strings.HasPrefix(fields[1], "*"), empty: fields[1] == "",
			changed: day(2), longest: day(4), expires: day(7),
		}, nil
	}
	if err := lines.Err(); err != nil {
		return s, fmt.Errorf("read %s: %w", path, err)
	}
	return s, fs.ErrNotExist
}

// judge says what PAM's rules of Debian make of it, unless the login is proven: then
// others decide. Provers are what may find a password right that is not the account's.
func (s shadow) judge(user string, now time.Time, proven bool, provers []string) (came, seen, remedy string) {
	today := int(now.Unix() / 86400)
	unusable := true
	switch {
	case s.expires >= 0 && today >= s.expires:
		unusable, seen, remedy = false, "the account expired on "+dayText(s.expires), "Have it go on: chage -E -1 "+user
	case s.locked:
		seen, remedy = "the password is locked", "Unlock it: passwd -u "+user
	case s.never:
		seen, remedy = "the account has no password, and nobody can log in with one", "Set one: passwd "+user
	case s.empty:
		seen, remedy = "the password is empty, and no login with an empty one is taken", "Set one: passwd "+user
	case s.changed == 0:
		unusable, seen, remedy = false, "the password has to be changed at the next login, which IMAP cannot do", "Set a new one: passwd "+user
	case s.changed > 0 && s.longest >= 0 && s.longest < 99999 && today > s.changed+s.longest:
		unusable, seen, remedy = false, "the password expired on "+dayText(s.changed+s.longest), "Set a new one: passwd "+user
	default:
		return control.StepOK, "neither locked nor expired", ""
	}
	switch {
	case proven:
		return control.StepOK, "/etc/shadow has that " + seen + ", and the login is let in all the same", ""
	case unusable && len(provers) > 0:
		return control.StepUntold, "/etc/shadow has that " + seen + "; " + strings.Join(provers, ", ") + " may take another", ""
	}
	return control.StepEnds, seen, remedy
}

func dayText(day int) string { return time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly) }

package imapserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// The bounds of those who have logged in at the page. The page has shorter ones.
const (
	webSessionLife   = 8 * time.Hour
	maxWebSessions   = 4096
	webSessionsOfOne = 10
)

// webDoor answers the web page. As with a login process, what the page says is taken
// for what somebody may say who has taken it over: it gets a token for a password, and
// what the user of a token may have.
type webDoor struct {
	log      *slog.Logger
	auth     *auth.Auth
	settings func() *Settings
	begin    func(config.User, *os.File) error // a session, as server has it

	mu       sync.Mutex
	last     uint64
	sessions map[string]webSession // by token
}

type webSession struct {
	user  string
	row   config.User // as it was at the login
	login string      // what was typed, which a directory may know the user by
	begun time.Time
	made  uint64         // the order in which they were made
	usage *control.Usage // as it was when it was asked for, nil: none or unknown
	asked time.Time
}

// openWebDoor binds the socket of the page, whether there is one now or by a reload.
func openWebDoor(s *Settings) (net.Listener, error) {
	return control.ListenAll(path.Join(path.Dir(s.Config.Control), "web"))
}

// serve answers until ctx ends.
func (d *webDoor) serve(ctx context.Context, l net.Listener) {
	err := control.WebServer{
		Allow: func(uid int) bool {
			web := d.settings().Config.Web
			return web != nil && uid == web.UID
		},
		Answer: d.answer,
	}.Serve(ctx, l)
	if err != nil {
		d.log.Error("socket of the web page lost", "err", err)
	}
}

func (d *webDoor) answer(ctx context.Context, r control.WebRequest) control.WebAnswer {
	switch r.Do {
	case control.WebLogin:
		return d.login(ctx, r)
	case control.WebCertificate:
		return control.WebAnswer{PEM: d.settings().webPEM()}
	}
	s, ok := d.session(r.Token)
	if !ok {
		return control.WebAnswer{Over: true, Error: "You have to log in again."}
	}
	var a control.WebAnswer
	var err error
	switch r.Do {
	case control.WebUser:
		d.about(s.user, &a)
	case control.WebUsage:
		a.Usage, err = d.usage(r.Token)
	case control.WebLogout:
		d.end(func(token string, _ webSession) bool { return token == r.Token })
	case control.WebRevokeApp:
		err = d.auth.RevokeAppPassword(s.user, r.Name)
	case control.WebAddApp, control.WebPassword:
		user, refused := d.check(ctx, s.login, r)
		if refused == "" && user != s.user { // the directory says another one than at the login
			return control.WebAnswer{Over: true, Error: "You have to log in again."}
		}
		if refused != "" {
			return control.WebAnswer{Error: refused}
		}
		err = d.change(ctx, user, r, &a)
	default:
		a.Error = "there is no such request: " + strconv.Quote(r.Do)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// change does what needs the password again: a browser that was left open, or a page
// that was taken over, leaves nothing behind by which to come back.
func (d *webDoor) change(ctx context.Context, user string, r control.WebRequest, a *control.WebAnswer) (err error) {
	if r.Do == control.WebAddApp {
		a.App, err = d.auth.AddAppPassword(user, r.Name, nil)
		return err
	}
	if err := d.auth.SetPassword(ctx, user, r.New); err != nil {
		return err
	}
	d.end(func(token string, s webSession) bool { return s.user == user && token != r.Token })
	return nil
}

// check asks auth for a verdict on a password, with the limits and the log that every
// login has. It gives the name of the user, which a directory may know as another one
// than was typed, or why not, for the user.
func (d *webDoor) check(ctx context.Context, name string, r control.WebRequest) (user, refused string) {
	v := d.auth.Authenticate(ctx, &handoff.Credentials{
		ID: "web", Listener: auth.Web, User: name, Password: r.Password, Mechanism: "web", Remote: r.Remote, TLS: r.TLS,
	})
	switch {
	case v.Elsewhere != "":
		return "", "Your mail is on another server, and so is your page."
	case v.User == "":
		return "", cmp.Or(v.Text, "Authentication failed.")
	}
	return v.User, ""
}

func (d *webDoor) login(ctx context.Context, r control.WebRequest) control.WebAnswer {
	user, refused := d.check(ctx, r.User, r)
	if refused != "" {
		return control.WebAnswer{Error: refused}
	}
	token := rand.Text() + rand.Text()
	row, _ := d.auth.User(user)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	d.sessions[token] = webSession{user: user, row: row, login: r.User, begun: time.Now(), made: d.last}
	d.makeRoom(user)
	return control.WebAnswer{Token: token, User: user}
}

// makeRoom ends the oldest sessions of a user, and of all, that are too many. The
// caller holds mu.
func (d *webDoor) makeRoom(user string) {
	oldest := func(most int, counts func(webSession) bool) {
		var tokens []string
		for token, s := range d.sessions {
			if counts(s) {
				tokens = append(tokens, token)
			}
		}
		if len(tokens) <= most {
			return
		}
		slices.SortFunc(tokens, func(a, b string) int { return cmp.Compare(d.sessions[a].made, d.sessions[b].made) })
		for _, token := range tokens[:len(tokens)-most] {
			delete(d.sessions, token)
		}
	}
	oldest(webSessionsOfOne, func(s webSession) bool { return s.user == user })
	if len(d.sessions) > maxWebSessions {
		oldest(maxWebSessions*3/4, func(webSession) bool { return true })
	}
}

// session gives that of a token, for as long as there is its user.
func (d *webDoor) session(token string) (webSession, bool) {
	d.mu.Lock()
	s, ok := d.sessions[token]
	if ok && time.Since(s.begun) > webSessionLife {
		delete(d.sessions, token)
		ok = false
	}
	d.mu.Unlock()
	if !ok {
		return webSession{}, false
	}
	return s, d.same(s)
}

// same tells whether there is the user of a session, and not somebody else of the name.
// What auth keeps, such as a hash that was made better, is not in the row.
func (d *webDoor) same(s webSession) bool {
	u, ok := d.auth.User(s.user)
	return ok && u.Directory == s.row.Directory && u.UID == s.row.UID && u.Maildir == s.row.Maildir && u.Hash == s.row.Hash
}

// settle ends the sessions of those who are not in new settings: whoever has the name
// after that is somebody else.
func (d *webDoor) settle() {
	d.end(func(_ string, s webSession) bool { return !d.same(s) })
}

// end ends sessions.
func (d *webDoor) end(which func(token string, s webSession) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for token, s := range d.sessions {
		if which(token, s) {
			delete(d.sessions, token)
		}
	}
}

// about says what a user may know of their own logins.
func (d *webDoor) about(user string, a *control.WebAnswer) {
	a.User, a.Own = user, d.auth.OwnPassword(user)
	for _, app := range d.auth.AppPasswords(user) {
		a.Apps = append(a.Apps, control.AppPassword(app))
	}
	for _, l := range d.auth.Lately(user) {
		a.Logins = append(a.Logins, control.Login{Listener: l.Listener, Remote: l.Remote, Mechanism: l.Mechanism, By: l.By, Last: l.Last, Count: l.Count})
	}
}

// webPEM is the certificate and key by which the page is served, nil for none.
func (s *Settings) webPEM() []byte {
	for i, b := range s.Config.TLS.Bundles {
		if w := s.Config.Web; w != nil && w.Certificate == b.Name {
			return s.raw.PEM[i]
		}
	}
	return nil
}

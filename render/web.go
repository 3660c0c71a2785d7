package render

import (
	"encoding/json"
	"fmt"

	"mailstead/render/profile"
	"mailstead/schema"
)

// Web is what the units of the page are made of. The page itself talks to
// strangers, and so has nothing to lose; what needs root is a process of its own
// for each request, which the page can ask and not be.
type Web struct {
	Systemd int
	Paths   schema.Paths
	Account string // the system account of the page
	Page    *schema.Web
}

// WebSettings is what the page has to know of its host, none of it secret.
type WebSettings struct {
	Host        string `json:"host"`
	TLS         bool   `json:"tls"`          // auth has the certificate
	Ask         bool   `json:"certificates"` // ask clients for certificates: an admin has one
	Admins      bool   `json:"admins"`       // there are some
	Auth        string `json:"auth"`         // path of the socket of auth
	AdminSocket string `json:"admin_socket"` // path of the socket of what needs root
	// Profile is what render/profile goes by, for users of whom nothing else is said
	// than of all.
	Profile WebProfile `json:"profile"`
}

// WebProfile is what is said of a host to anybody who may have mail there.
type WebProfile struct {
	Listeners []schema.Listener `json:"listeners"`
	Folders   []schema.Folder   `json:"folders"` // with a special use
	Namespace string            `json:"namespace,omitempty"`
	Profiles  *schema.Profiles  `json:"profiles,omitempty"`
	// Logins says by domain what users log in with.
	Logins map[string]profile.Login `json:"logins"`
}

// ProfileHost gives a host whose only user that is.
func (s WebSettings) ProfileHost(user string) *schema.Host {
	p := s.Profile
	return &schema.Host{
		Name: s.Host, Listeners: p.Listeners, Namespace: p.Namespace, Profiles: p.Profiles, Folders: p.Folders,
		Users: []schema.User{{Name: user, Folders: p.Folders}},
	}
}

// webProfile leaves out where things stand in the description: a comment there is no
// change here.
func webProfile(h *schema.Host) WebProfile {
	p := WebProfile{Namespace: h.Namespace, Logins: profile.Logins(h)}
	for _, l := range h.Listeners {
		if l.Public() {
			p.Listeners = append(p.Listeners, schema.Listener{Name: l.Name, Address: l.Address, Port: l.Port, TLS: l.TLS})
		}
	}
	for _, f := range h.Folders {
		if f.Use != "" {
			p.Folders = append(p.Folders, schema.Folder{Name: f.Name, Use: f.Use})
		}
	}
	if h.Profiles != nil {
		said := *h.Profiles
		said.Origin = schema.Pos{}
		p.Profiles = &said
	}
	return p
}

// WebFileContent writes the file that the page reads.
func WebFileContent(h *schema.Host) ([]byte, error) {
	w := h.Web
	data, err := json.MarshalIndent(WebSettings{
		Host: h.Name, TLS: w.Certificate != "", Ask: w.AsksCertificates(), Admins: len(w.Admins) > 0,
		Auth: WebAuthSocket(h.Paths), AdminSocket: WebAdminSocket(h.Paths), Profile: webProfile(h),
	}, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return append(data, '\n'), nil
}

// Socket writes the unit of the port.
func (w Web) Socket() ([]byte, error) {
	u := newUnit()
	u.section("Unit")
	u.set("Description", "Mailstead web page")

	u.section("Socket")
	if err := bind(u, schema.Listener{Address: w.Page.Address, Port: w.Page.Port}); err != nil {
		return nil, fmt.Errorf("render %s: %w", WebSocketUnit, err)
	}
	u.set("Service", WebUnit)
	u.set("Backlog", 1024)
	u.set("NoDelay", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// Service writes the unit of the page.
func (w Web) Service() ([]byte, error) {
	u := newUnit()
	checkPaths(u, w.Paths)
	u.name("User", accountName, w.Account)
	u.section("Unit")
	u.set("Description", "Mailstead web page")
	u.set("After", "network.target "+ServiceUnit+" "+ApplyUnit)
	u.words("RequiresMountsFor", "", w.Paths.State)
	persistent(u)

	u.section("Service")
	u.exec("ExecStart", Program(w.Paths, "mailstead"), "web", WebFile(w.Paths))
	u.set("Sockets", WebSocketUnit)
	u.set("User", w.Account)
	u.set("Type", "notify")
	u.set("NotifyAccess", "main")
	u.set("Restart", "on-failure")
	u.set("RestartSec", "1s")
	u.set("UMask", "0077")
	u.set("LimitNOFILE", 8192)
	u.set("TimeoutStopSec", "30s")
	u.set("LimitCORE", 0)
	u.set("TasksMax", 512)
	u.set("MemoryMax", "256M")
	runsOnly(u, w.Systemd, Program(w.Paths, "mailstead"))
	writeSandbox(u, w.Systemd, webRole, w.Paths.Bin, w.Paths.State, w.Paths.Run)

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.bytes()
}

// AdminSocket writes the unit of the socket at which the page, and nobody else,
// asks for what needs root.
func (w Web) AdminSocket() ([]byte, error) {
	u := newUnit()
	u.path("ListenStream", WebAdminSocket(w.Paths))
	u.name("SocketUser", accountName, w.Account)
	u.section("Unit")
	u.set("Description", "Mailstead: web page to what needs root")

	u.section("Socket")
	u.line("ListenStream", WebAdminSocket(w.Paths))
	u.set("SocketUser", w.Account)
	u.set("SocketMode", "0600")
	u.set("Accept", "yes")
	u.set("MaxConnections", 8)
	u.set("RemoveOnStop", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

// AdminService writes the unit of one request.
func (w Web) AdminService() ([]byte, error) {
	u := newUnit()
	u.path("bin", w.Paths.Bin)
	u.path("state", w.Paths.State)
	u.section("Unit")
	u.set("Description", "Mailstead: a request of an admin at the web page")
	u.set("CollectMode", "inactive-or-failed")
	u.words("RequiresMountsFor", "", w.Paths.State)

	u.section("Service")
	u.exec("ExecStart", Program(w.Paths, "mailstead"), "web-admin", "--state", w.Paths.State)
	u.set("StandardInput", "socket")
	u.set("StandardOutput", "socket")
	u.set("StandardError", "journal")
	u.set("RuntimeMaxSec", "10min")
	u.set("LimitCORE", 0)
	u.set("UMask", "0077")
	writeSandbox(u, w.Systemd, webAdmin)
	return u.bytes()
}

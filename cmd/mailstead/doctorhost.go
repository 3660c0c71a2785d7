package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/doctor"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// daemonProgram is what the daemon's processes are called.
const daemonProgram = "mailstead-imapd"

// lastWrite is when Mailstead has written its state last, zero if it never has.
func lastWrite(state string) time.Time {
	st, err := os.Stat(filepath.Join(state, reconcile.InventoryFile))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// waits tells whether a resource waits for something.
func (u *checkup) waits(ref reconcile.Ref) bool {
	return slices.ContainsFunc(u.plan.Blocked, func(w reconcile.Waiting) bool { return w.Ref == ref && !isCopy(w) })
}

// daemon looks at what runs, and at what could not be brought into force.
func (u *checkup) daemon(ctx context.Context, s *hostStatus) {
	switch {
	case s.Daemon == nil && s.Problem != control.ErrNotRunning.Error() && !u.privileged():
		u.Skip("daemon", "only root may ask it")
	case s.Daemon == nil:
		f := doctor.New(doctor.DaemonDown, "daemon", s.Problem).At(u.host.Origin.String())
		if u.serviceRuns(ctx) {
			f = doctor.New(doctor.DaemonMute, "daemon", render.ServiceUnit+" runs, and nothing answers at "+render.ControlSocket(u.host.Paths)).At(u.host.Origin.String())
		}
		f.Mends = []string{kind.DaemonRef().String(), kind.UnitRef(render.ServiceUnit).String(), kind.UnitRef(render.AuthSocketUnit).String(), kind.UnitRef(render.SpawnUnit).String()}
		u.Add(f)
	default:
		for _, row := range s.Rows {
			if u.l.want == nil {
				break // which says what is meant
			}
			unserved := row.Kind == listenerCell.String() && row.Running == "" // which whoever connects finds
			if !unserved && !agree(row.Desired, row.Running) && agree(row.Desired, row.Disk) {
				f := doctor.New(doctor.DaemonOutOfStep, strings.TrimSpace(row.Kind+" "+row.Name), fmt.Sprintf("on disk is %s, and the daemon serves %s", brief(row.Disk), brief(row.Running)))
				f.Mends = []string{kind.DaemonRef().String()}
				u.Add(f.At(u.host.Origin.String()))
			}
		}
	}
	for _, f := range s.Faults {
		u.Add(doctor.New(doctor.CertificateFailed, "certificate "+f.Certificate,
			fmt.Sprintf("not brought into force since %s: %s", f.Since.Format(time.DateTime+" MST"), f.Fault)).At(certificateOrigin(u.host, f.Certificate)))
	}
}

// serviceRuns tells whether systemd has the daemon running.
func (u *checkup) serviceRuns(ctx context.Context) bool {
	if u.o.opts.Rootless || u.l.facts.Systemd == 0 {
		return false
	}
	all, err := u.l.kinds.Health(ctx, []string{render.ServiceUnit})
	return err == nil && all[render.ServiceUnit].Active == "active"
}

func certificateOrigin(host *schema.Host, name string) string {
	for _, c := range host.TLS.Certificates {
		if c.Name == name {
			return c.Origin.String()
		}
	}
	return host.Origin.String()
}

// privileged tells whether all that is looked at may be.
func (u *checkup) privileged() bool { return os.Geteuid() == 0 || u.o.opts.Rootless }

// ports looks who has the listeners' ports.
func (u *checkup) ports(s *hostStatus) {
	if !u.privileged() {
		u.Skip("ports", "who holds them is root's to see")
		return
	}
	for _, l := range u.host.Listeners {
		p := doctor.Port{Listener: l.Name, Port: l.Port, Origin: l.Origin.String(), Units: []string{render.LoginUnit(l.Name)}}
		p.Mends = []string{kind.UnitRef(render.SocketUnit(l.Name)).String()}
		if s.Daemon != nil {
			p.PIDs = []int{s.Daemon.PID}
		}
		u.Add(p.Judge(kind.Holders(l.Address, l.Port))...)
	}
	u.Look("ports", len(u.host.Listeners))
}

// names looks where the names lead.
func (u *checkup) names(ctx context.Context) {
	own, err := doctor.OwnAddresses()
	if err != nil {
		u.Skip("names", err.Error())
		return
	}
	names := dnsNames(u.host)
	for _, r := range doctor.Resolve(ctx, net.DefaultResolver, names) {
		u.Add(r.Judge(own)...)
	}
	u.Look("names", len(names))
}

// files looks at who may read and write what decides over the host.
func (u *checkup) files() {
	files := ownFiles(u.host)
	files = append(files, foreignFiles(u.host)...)
	files = append(files, u.described()...)
	u.Add(doctor.Files(files)...)
	u.Look("files", len(files))
}

// ownFiles are those that Mailstead has made.
func ownFiles(h *schema.Host) []doctor.File {
	origin := h.Origin.String()
	files := []doctor.File{
		{Path: render.ConfigFile(h.Paths), What: "daemon's configuration", Origin: origin, Mends: "daemon-config/" + render.ConfigFile(h.Paths)},
		{Path: render.UsersFile(h.Paths), What: "list of users with their hashes", Secret: true, Origin: origin, Mends: "password-file/" + render.UsersFile(h.Paths)},
		{Path: filepath.Join(h.Paths.State, reconcile.InventoryFile), What: "inventory", Origin: origin},
	}
	for _, c := range h.TLS.Certificates {
		files = append(files, doctor.File{Path: render.BundleFile(h.Paths, c.Name), What: "private key of certificate " + c.Name, Secret: true,
			Origin: c.Origin.String(), Mends: kind.CertificateRef(c.Name).String()})
	}
	return files
}

// foreignFiles are the secret ones that the description names.
func foreignFiles(h *schema.Host) (files []doctor.File) {
	for _, c := range h.TLS.Certificates {
		key := doctor.File{What: "private key of certificate " + c.Name, Secret: true, Origin: c.Origin.String()}
		switch {
		case c.Files != nil:
			key.Path = c.Files.Key
		case c.Certbot != nil:
			key.Path = filepath.Join(h.Paths.Letsencrypt, "live", c.Certbot.Lineage, "privkey.pem")
		default:
			continue
		}
		files = append(files, key)
	}
	return append(files, passwordFiles(h)...)
}

// passwordFiles are those with the passwords that the description names.
func passwordFiles(h *schema.Host) (files []doctor.File) {
	secret := func(path, what string, at schema.Pos) {
		if path != "" {
			files = append(files, doctor.File{Path: path, What: what, Secret: true, Origin: at.String()})
		}
	}
	for _, d := range h.Directories {
		if d.LDAP != nil {
			secret(d.LDAP.PasswordFile, "password of directory "+d.Name, d.Origin)
		}
	}
	if h.Web != nil {
		for _, a := range h.Web.Admins {
			secret(a.TOTPFile, "secret of the codes of the admin "+a.Name, h.Web.Origin)
		}
	}
	if h.Probe != nil {
		secret(h.Probe.File, "password of the probe", h.Origin)
	}
	for _, user := range h.Users {
		for _, i := range user.Imports {
			secret(i.PasswordFile, fmt.Sprintf("password of import %s of %s", i.Name, user.Name), i.Origin)
		}
	}
	return files
}

// described are the files of the description. Those with hashes are secret: whoever
// has them can guess passwords as fast as their machine goes.
func (u *checkup) described() (files []doctor.File) {
	hashes := map[string]bool{}
	for _, user := range u.host.Users {
		if user.Virtual != nil {
			hashes[filepath.Base(user.Virtual.Origin.File)] = true
		}
	}
	for path, at := range u.host.Origins { // of admins and masters
		if strings.HasSuffix(path, "/hash") {
			hashes[filepath.Base(at.File)] = true
		}
	}
	for _, path := range u.o.paths {
		path, err := filepath.Abs(path)
		if err != nil {
			continue
		}
		list := []string{path}
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			list, _ = filepath.Glob(filepath.Join(path, "*")) // a "[" of the description's path only leaves files out
		}
		for _, f := range list {
			if slices.Contains([]string{".cue", ".json", ".yaml", ".yml"}, filepath.Ext(f)) {
				name := filepath.Base(f)
				files = append(files, doctor.File{Path: f, What: "description", Secret: hashes[name], Origin: name})
			}
		}
	}
	return files
}

// units looks at systemd's units of ours, and at what renews the certificates.
func (u *checkup) units(ctx context.Context) {
	if u.o.opts.Rootless || u.l.facts.Systemd == 0 {
		u.Skip("units", "systemd runs nothing here")
		return
	}
	origins := map[string]string{}
	var ours []doctor.Unit
	for _, r := range u.l.want {
		if r.Ref.Kind == "unit" && r.Blocked == nil && !strings.Contains(r.Ref.Name, "@.") {
			origins[r.Ref.Name] = r.Origin
			ours = append(ours, doctor.Unit{Name: r.Ref.Name, Origin: r.Origin, Text: r.Get("content")})
		}
	}
	all, err := u.l.kinds.Health(ctx, slices.Collect(maps.Keys(origins)))
	if err != nil {
		u.Skip("units", err.Error())
		return
	}
	u.Add(doctor.Units(all, u.now, func(unit string) string { return origins[unit] })...)
	for i := range ours {
		ours[i].Added = all[ours[i].Name].Added
	}
	u.Add(doctor.DropIns(ours, render.Confines)...)
	u.Look("units", len(all))
	u.renewer(ctx)
	if p, err := u.l.promise(ctx); err == nil { // units has said so
		u.Add(p.Judge()...)
	}
}

// renewer looks whether anything renews certbot's lineages, and runs our hook.
func (u *checkup) renewer(ctx context.Context) {
	c := doctor.Certbot{Dir: filepath.Clean(u.host.Paths.Letsencrypt), Runs: map[string][]string{},
		Settings: []string{"/etc/letsencrypt/cli.ini", "/root/.config/letsencrypt/cli.ini"}} // certbot's own places, wherever Dir is
	for _, cert := range u.host.TLS.Certificates {
		if cert.Certbot != nil {
			c.Lineages, c.Origin = append(c.Lineages, cert.Certbot.Lineage), cmp.Or(c.Origin, cert.Origin.String())
		}
	}
	if c.Lineages == nil {
		return
	}
	c.Lineages = slices.DeleteFunc(c.Lineages, func(name string) bool { // which waits
		_, err := os.Stat(filepath.Join(c.Dir, "live", name))
		return err != nil
	})
	var err error
	if c.Timers, err = u.l.kinds.Health(ctx, doctor.Renewers); err != nil {
		return // units has said so
	}
	for _, timer := range doctor.Renewers {
		service := strings.TrimSuffix(timer, ".timer") + ".service"
		if all, err := u.l.kinds.Health(ctx, []string{service}); err == nil && c.Timers[timer].There {
			c.Runs[service] = all[service].Runs
		}
	}
	c.Crontabs, _ = filepath.Glob("/etc/cron.d/*")
	c.Crontabs = append(c.Crontabs, "/etc/crontab", "/var/spool/cron/crontabs/root", "/var/spool/cron/root")
	u.Add(c.Judge()...)
}

// limits looks at what the daemon's processes hold.
func (u *checkup) limits(s *hostStatus) {
	var only []int
	if u.o.opts.Rootless { // others of that name are somebody else's
		if s.Daemon == nil {
			return
		}
		only = []int{s.Daemon.PID}
	}
	found, looked := doctor.Limits("/proc", daemonProgram, only...)
	u.Add(found...)
	u.Look("processes", looked)
}

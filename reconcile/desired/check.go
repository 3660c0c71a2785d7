package desired

import (
	"errors"
	"fmt"
	"strings"

	"mailstead/reconcile"
	"mailstead/render"
	"mailstead/schema"
)

// Check refuses the description of a host that leads out of where things belong,
// before the host is looked at.
func Check(host *schema.Host, opts Options) error {
	if err := newBuilder(host, reconcile.Facts{}, opts).check(); err != nil {
		return fmt.Errorf("check %s: %w", host.Name, err)
	}
	return nil
}

// checkRun refuses a directory of sockets that nobody would make: systemd makes those
// below /run, and below /run/user a user's own.
func (b *builder) checkRun() {
	run := b.paths.Run
	if b.rootless || b.facts.Systemd == 0 || strings.HasPrefix(run, "/run/") && !strings.HasPrefix(run, "/run/user/") {
		return
	}
	b.fault(schema.CodeValue, b.host.Origins["paths/run"], "paths.run is not below /run, where systemd makes it for the daemon: "+run, "leave it out, or name one such as /run/imap", "paths", "run")
}

// check refuses names and paths that would lead out of where they belong. The
// schema has refused them before; this does not rely on it, since what is
// built is done by root.
func (b *builder) check() error {
	h, p := b.host, b.paths
	var errs []error
	path := func(what, path string) { errs = append(errs, render.CheckPath(what, path)) }
	element := func(what, name string) { errs = append(errs, render.CheckElement(what, name)) }
	path("state", p.State)
	path("run", p.Run)
	path("bin", p.Bin)
	if !b.rootless {
		path("letsencrypt", p.Letsencrypt)
		path("units", p.Units)
	}
	if b.hasVirtual() {
		path("mail root", h.Mail.Root)
	}
	for _, c := range h.TLS.Certificates {
		element("certificate", c.Name)
		switch {
		case c.Certbot != nil:
			element("lineage", c.Certbot.Lineage)
		case c.Files != nil:
			path("certificate file", c.Files.Certificate)
			path("key file", c.Files.Key)
		}
		if c.Stitched != "" {
			path("stitched", c.Stitched)
		}
	}
	if d := h.TLS.DHParams; d != nil {
		path("dhparams", d.File)
	}
	if f := h.Profiles; f != nil && f.Dir != "" {
		path("profiles", f.Dir)
	}
	for _, u := range b.people {
		element("user", u.want.Name)
		path("home", u.login.Home)
		path("maildir", u.login.Maildir)
	}
	for _, d := range h.Directories {
		element("directory", d.Name)
		for _, home := range d.Homes {
			path("homes", home)
		}
	}
	return errors.Join(errs...)
}

package target

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"mailstead/imapserver/pam"
)

// askers are the modules of PAM that ask a server themselves. Those that ask a daemon
// of the host, by a local socket, are not: pam_sss, pam_winbind, and nslcd's pam_ldap,
// which has the name of another one that is linked with libldap.
var askers = map[string]struct{ linkedWith string }{
	"pam_duo.so":         {},
	"pam_freerdp2.so":    {},
	"pam_krb5.so":        {}, // MIT's and Heimdal's
	"pam_ldap.so":        {"libldap"},
	"pam_mysql.so":       {},
	"pam_pgsql.so":       {},
	"pam_radius_auth.so": {},
	"pam_shishi.so":      {},
	"pam_slurm.so":       {},
	"pam_tacplus.so":     {},
	"pam_x2go.so":        {},
	"pam_yubico.so":      {},
}

// nameSources are those of nsswitch.conf that ask a server themselves, about the
// accounts that pam_unix looks at.
var nameSources = []string{"hesiod", "nis", "nisplus"}

// pamHost is where a host has what belongs to PAM.
type pamHost struct {
	root     fs.FS
	rules    pam.Places
	modules  string // pattern of the directories
	nsswitch string
}

// debianPAM is where Debian has it, on the host with that root directory.
func debianPAM(root fs.FS) pamHost {
	return pamHost{root, pam.Host, "/usr/lib/*/security", "/etc/nsswitch.conf"}
}

// PAMAskers names what is known to ask a server in a service of PAM, on the host with
// that root directory: what it is, and where it stands. file has the text of the service,
// or is to have it.
func PAMAskers(root fs.FS, file string, service []byte) []string {
	return debianPAM(root).askers(file, service)
}

// askers names what is known to ask a server in a service of PAM whose file is to
// have that text, and where it stands. A rule that cannot be read names nothing:
// mailstead-pam refuses logins by it, and says why.
func (h pamHost) askers(file string, service []byte) []string {
	if service == nil {
		return nil
	}
	var found []string
	rules, _ := h.rules.Rules(h.root, file, bytes.NewReader(service))
	for _, r := range rules {
		module := filepath.Base(r.Module)
		if a, ok := askers[module]; ok && h.linked(module, a.linkedWith) {
			found = append(found, fmt.Sprintf("%s (%s:%d)", module, r.File, r.Line))
		}
	}
	text, _ := fs.ReadFile(h.root, h.nsswitch[1:])
	return unique(append(found, h.nameAskers(string(text))...))
}

// unproving are the modules that let nobody in by a password of their own: pam_unix goes
// by the one that /etc/shadow has, and the others have none.
var unproving = []string{"pam_access.so", "pam_cap.so", "pam_deny.so", "pam_env.so", "pam_faildelay.so", "pam_faillock.so", "pam_group.so", "pam_localuser.so",
	"pam_nologin.so", "pam_permit.so", "pam_shells.so", "pam_succeed_if.so", "pam_time.so", "pam_unix.so", "pam_usertype.so"}

// PAMProvers names what may find a password right that /etc/shadow does not have, as
// PAMAskers does.
func PAMProvers(root fs.FS, file string, service []byte) []string {
	return debianPAM(root).provers(file, service)
}

func (h pamHost) provers(file string, service []byte) []string {
	var found []string
	rules, _ := h.rules.Rules(h.root, file, bytes.NewReader(service))
	for _, r := range rules {
		if module := filepath.Base(r.Module); r.Facility == "auth" && r.Module != "" && !slices.Contains(unproving, module) {
			found = append(found, fmt.Sprintf("%s (%s:%d)", module, r.File, r.Line))
		}
	}
	return unique(found)
}

// nameAskers looks for nameSources.
func (h pamHost) nameAskers(text string) []string {
	var found []string
	for i, line := range slices.Collect(strings.Lines(text)) {
		line, _, _ = strings.Cut(line, "#")
		database, sources, _ := strings.Cut(line, ":")
		if !slices.Contains([]string{"passwd", "shadow", "group"}, strings.TrimSpace(database)) {
			continue
		}
		for _, s := range strings.Fields(sources) {
			if slices.Contains(nameSources, s) {
				found = append(found, fmt.Sprintf("%s (%s:%d)", s, h.nsswitch, i+1))
			}
		}
	}
	return found
}

// linked tells whether a module is linked with a library, or may be: "" is any.
func (h pamHost) linked(module, library string) bool {
	if library == "" {
		return true
	}
	paths, _ := fs.Glob(h.root, filepath.Join(h.modules[1:], module))
	return slices.ContainsFunc(paths, func(path string) bool {
		text, err := fs.ReadFile(h.root, path)
		return err != nil || bytes.Contains(text, []byte(library))
	})
}

// unique leaves the first of those that are alike.
func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mailstead/reconcile/kind"
)

// Renewers are the timers by which certbot is run: Debian's, that of Fedora and Arch, and the snap's.
var Renewers = []string{"certbot.timer", "certbot-renew.timer", "snap.certbot.renew.timer"}

// Certbot is how somebody's lineages are renewed on a host.
type Certbot struct {
	Dir      string   // where certbot has everything, "/etc/letsencrypt"
	Lineages []string // that are served
	Origin   string   // what asks for the first of them
	Timers   map[string]kind.Health
	Runs     map[string][]string // what the timers' services run: a command by service
	Settings []string            // the files that certbot takes settings from besides
	Crontabs []string            // the files that cron runs commands from
}

// Judge says what keeps a lineage from being renewed, and the deploy hook from being
// run. What the hook itself lacks, the plan says.
func (c Certbot) Judge() []Finding {
	found, options := c.timer(), c.options()
	for _, lineage := range c.Lineages {
		found = append(found, c.lineage(lineage, options)...)
	}
	for _, o := range options {
		found = append(found, c.option(o.section, o.name, o.value)...)
	}
	return found
}

// options are what certbot is told for all lineages, by its names on the command line:
// for section, where.
func (c Certbot) options() (all []setting) {
	for _, service := range slices.Sorted(maps.Keys(c.Runs)) {
		for i, word := range c.Runs[service] {
			name, value, whole := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if rest := c.Runs[service][i+1:]; name == "config-dir" && !whole && len(rest) > 0 {
				value = rest[0]
			}
			all = append(all, setting{service, name, value})
		}
	}
	for _, path := range c.Settings {
		settings, _ := readSettings(path) // there are none, mostly
		for _, s := range settings {
			all = append(all, setting{path, strings.ReplaceAll(s.name, "_", "-"), s.value})
		}
	}
	return all
}

// timer looks whether anything runs certbot, now and after the next boot.
func (c Certbot) timer() []Finding {
	runs := slices.DeleteFunc(slices.Clone(Renewers), func(name string) bool { return c.Timers[name].Active != "active" })
	if len(runs) == 0 {
		if slices.ContainsFunc(c.Crontabs, renewsByCron) {
			return nil
		}
		f := New(NothingRenews, "certbot", "none of "+strings.Join(Renewers, ", ")+" runs").At(c.Origin)
		for _, name := range Renewers {
			switch t := c.Timers[name]; {
			case t.Masked:
				return []Finding{f.Do("It is masked: systemctl unmask " + name + ", then systemctl enable --now " + name + ".")}
			case t.There:
				return []Finding{f.Do("Enable it: systemctl enable --now " + name + ".")}
			}
		}
		return []Finding{f}
	}
	if slices.ContainsFunc(runs, func(name string) bool { return c.Timers[name].Enabled }) {
		return nil
	}
	return []Finding{New(NothingRenews, "certbot", runs[0]+" runs, and is not enabled: after the next boot it does not").At(c.Origin).
		Do("Enable it: systemctl enable " + runs[0])}
}

// renewsByCron tells whether a crontab has certbot renew. The line of Debian's package
// does nothing where systemd runs: there the timer does.
func renewsByCron(path string) bool {
	text, _ := readText(path) // there is none, mostly
	for line := range strings.Lines(text) {
		if strings.Contains(line, "certbot") && strings.Contains(line, "renew") &&
			!strings.HasPrefix(strings.TrimSpace(line), "#") && !strings.Contains(line, "/run/systemd/system") {
			return true
		}
	}
	return false
}

// lineage looks at what certbot notes of a lineage, which is how it renews it.
func (c Certbot) lineage(name string, options []setting) (found []Finding) {
	path := filepath.Join(c.Dir, "renewal", name+".conf")
	settings, err := readSettings(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{New(NothingRenews, "certbot, lineage "+name, "there is no "+path+": certbot does not know the lineage").At(c.Origin).
			Do("Have it issued anew, by certbot certonly --cert-name " + name + ", which writes it.")}
	case err != nil:
		return nil // who may not read it is told elsewhere
	}
	hooked := slices.ContainsFunc(options, func(s setting) bool { return s.name == "manual-auth-hook" }) ||
		slices.ContainsFunc(settings, func(s setting) bool { return s.name == "manual_auth_hook" })
	for _, s := range settings {
		if s.section != "renewalparams" {
			continue
		}
		switch dir := filepath.Clean(s.value); {
		case s.name == "autorenew" && !truth(s.value):
			found = append(found, New(NothingRenews, "certbot, lineage "+name, path+" has autorenew = "+s.value).At(c.Origin).
				Do("Let certbot renew it: certbot reconfigure --cert-name "+name+", or take the line out."))
		case s.name == "authenticator" && s.value == "manual" && !hooked:
			found = append(found, New(NothingRenews, "certbot, lineage "+name, path+" has authenticator = manual and no manual_auth_hook: its timer has nobody to ask").At(c.Origin).
				Do("Have certbot prove the names by itself: certbot reconfigure --cert-name "+name+", with a DNS plugin or with --manual-auth-hook."))
		case s.name == "config_dir" && dir != c.Dir:
			found = append(found, c.otherDir(path, dir))
		}
	}
	return found
}

// option judges a setting of certbot's, by its name on the command line.
func (c Certbot) option(where, name, value string) []Finding {
	on := value == "" || truth(value)
	switch {
	case name == "no-directory-hooks" && on || name == "directory-hooks" && !on:
		return []Finding{New(HookNotRun, "certbot", where+" has "+name+": certbot runs no hook of "+filepath.Join(c.Dir, "renewal-hooks")).At(c.Origin).
			Do("Take it out of " + where + ".")}
	case name == "no-autorenew" && on:
		return []Finding{New(NothingRenews, "certbot", where+" has "+name).At(c.Origin).Do("Take it out of " + where + ".")}
	case name == "config-dir" && value != "" && filepath.Clean(value) != c.Dir:
		return []Finding{c.otherDir(where, filepath.Clean(value))}
	}
	return nil
}

func (c Certbot) otherDir(where, dir string) Finding {
	return New(HookNotRun, "certbot", fmt.Sprintf("%s has certbot work in %s, and the hook is in %s", where, dir, c.Dir)).At(c.Origin).
		Do(fmt.Sprintf("Take it out of %s, or say where certbot's files are in the description (paths: letsencrypt: %q).", where, dir))
}

// truth reads a boolean as certbot's files have it.
func truth(value string) bool {
	v, err := strconv.ParseBool(strings.ToLower(value))
	return err == nil && v || slices.Contains([]string{"yes", "on"}, strings.ToLower(value))
}

// setting is a line of a file: "name = value", or a name alone.
type setting struct{ section, name, value string }

// maxSettings is how many octets of such a file are read.
const maxSettings = 1 << 20

// readSettings reads an INI file as certbot and systemd have them, the latter with
// lines that go on after a backslash.
func readSettings(path string) (all []setting, err error) {
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	return parseSettings(text), nil
}

func readText(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxSettings {
		return "", fmt.Errorf("read %s: no file of settings", path)
	}
	data, err := os.ReadFile(path)
	return string(data), err
}

func parseSettings(text string) (all []setting) {
	section := ""
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			name, value, _ := strings.Cut(line, "=")
			all = append(all, setting{section, strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return all
}

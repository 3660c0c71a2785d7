package kind

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// certbotCommand is what the operator runs to get the first certificate of a
// lineage; later ones come by certbot's own timer.
func certbotCommand(c CertificateSpec) string {
	live := filepath.Dir(c.Certificate)
	args := []string{"certbot", "certonly"}
	switch {
	case hasWildcard(c): // only the DNS proves those
		args = append(args, "--manual", "--preferred-challenges", "dns")
	case listening(80): // whoever has the port can show certbot's proof
		args = append(args, "--webroot", "-w", "/var/www/html")
	default:
		args = append(args, "--standalone")
	}
	if dir := filepath.Dir(filepath.Dir(live)); dir != "/etc/letsencrypt" {
		args = append(args, "--config-dir", dir)
	}
	args = append(args, "--cert-name", filepath.Base(live))
	for _, n := range c.Names {
		args = append(args, "-d", n)
	}
	for i, a := range args {
		args[i] = shellWord(a)
	}
	return strings.Join(args, " ")
}

// shellWord quotes what a shell would not take as it is.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lineageMissing says that there is no lineage yet, and of one that the command gets by
// hand, what it takes to renew it.
func lineageMissing(c CertificateSpec) string {
	missing := fmt.Sprintf("certbot has no lineage %s yet", filepath.Base(filepath.Dir(c.Certificate)))
	if hasWildcard(c) {
		missing += "; with a DNS plugin, or with --manual-auth-hook, certbot renews it by itself"
	}
	return missing
}

func hasWildcard(c CertificateSpec) bool {
	return slices.ContainsFunc(c.Names, func(n string) bool { return strings.HasPrefix(n, "*.") })
}

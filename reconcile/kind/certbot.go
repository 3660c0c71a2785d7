package kind

import (
	"fmt"
	"path/filepath"
	"strings"
)

// certbotCommand is what the operator runs to get the first certificate of a
// lineage; later ones come by certbot's own timer.
func certbotCommand(c CertificateSpec) string {
	live := filepath.Dir(c.Certificate)
	args := []string{"certbot", "certonly"}
	wildcard := false
	for _, n := range c.Names {
		wildcard = wildcard || strings.HasPrefix(n, "*.")
	}
	switch {
	case wildcard: // only the DNS proves those
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

// lineageMissing says that there is no lineage yet.
func lineageMissing(c CertificateSpec) string {
	return fmt.Sprintf("certbot has no lineage %s yet", filepath.Base(filepath.Dir(c.Certificate)))
}

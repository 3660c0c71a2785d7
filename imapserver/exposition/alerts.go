package exposition

import (
	"fmt"
	"strings"

	"mailstead/imapserver/metrics"
)

// Alert is a rule by which Prometheus calls somebody.
type Alert struct {
	Name     string
	Expr     string
	For      string // how long it has to hold
	Severity string // critical: mail is not served, or soon will not be; warning: somebody should look
	Summary  string
	Do       string // what to do about it
}

const (
	critical = "critical"
	warning  = "warning"
)

// Alerts is every rule.
var Alerts = []Alert{
	{"MailsteadDown", metrics.Up + ` == 0 or absent(` + metrics.Up + `)`, "2m", critical, "auth does not answer",
		"systemctl status mailstead-imapd; sessions go on meanwhile, and nobody can log in"},
	{"MailsteadCertificateExpires", `(` + metrics.Certificate + ` - time()) / 86400 < 7`, "1h", warning, "the certificate {{ $labels.certificate }} is valid for {{ $value | printf \"%.1f\" }} more days",
		"mailstead status says what is served and what is on disk; certbot renew --dry-run says what keeps it"},
	{"MailsteadCertificateExpired", `(` + metrics.Certificate + ` - time()) / 86400 < 1`, "5m", critical, "the certificate {{ $labels.certificate }} is about to expire, or has",
		"certbot renew, then mailstead deploy-hook --all"},
	{"MailsteadLoginsUnavailable", `sum by (listener) (rate(` + metrics.Logins + `{result="unavailable"}[5m])) > 0`, "5m", critical, "good logins fail on {{ $labels.listener }}",
		"a directory or PAM is away, or workers cannot start: journalctl -u 'mailstead-*' -p err"},
	{"MailsteadProxyFails", `sum by (listener) (rate(` + metrics.ProxyLogins + `{what="failed"}[5m])) > 0`, "5m", critical, "the server behind {{ $labels.listener }} cannot be asked",
		"the log of its login says why; mailstead doctor looks at it"},
	{"MailsteadGuessing", `sum by (listener) (rate(` + metrics.Logins + `{result="refused"}[10m])) > 1`, "10m", warning, "more than one wrong password a second on {{ $labels.listener }}",
		"the log has the addresses; see fail2ban in the description"},
	{"MailsteadConnectionsRefused", `sum by (listener, reason) (rate(` + metrics.Refusals + `{reason=~".*connections.*"}[5m])) > 0.1`, "10m", warning, "connections are closed at once on {{ $labels.listener }}: {{ $labels.reason }}",
		"a flood, or a limit that is too low: docs/limits.md"},
	{"MailsteadSessionsRefused", `sum by (listener, reason) (increase(` + metrics.Refusals + `{reason=~"sessions.*"}[15m])) > 5`, "0m", warning, "good logins are refused on {{ $labels.listener }}, since there are too many {{ $labels.reason }}",
		"the log has the users and addresses; mailstead sessions lists what there is; docs/limits.md"},
	{"MailsteadSlowDisk", `histogram_quantile(0.99, sum by (le) (rate(` + metrics.Fsync + `_bucket[5m]))) > 0.5`, "10m", warning, "one sync in a hundred takes more than half a second",
		"look at the disk: every acknowledged change waits for it"},
	{"MailsteadSlowCommands", `histogram_quantile(0.95, sum by (le, command) (rate(` + metrics.Commands + `_bucket{command=~"SELECT|FETCH|UID FETCH|STATUS"}[10m]))) > 5`, "10m", warning, "{{ $labels.command }} takes more than five seconds",
		"mailstead explain-session says what sessions wait for"},
	{"MailsteadIndexRebuilt", `increase(` + metrics.Rebuilds + `[1h]) > 0`, "0m", warning, "a damaged index was put aside and made anew",
		"the log names the Maildir; look at the disk and its file system"},
	{"MailsteadRemovals", `sum(increase(` + metrics.Removed + `{how!="moved"}[10m])) > 20000`, "0m", warning, "{{ $value | printf \"%.0f\" }} messages were removed within ten minutes",
		"mailstead who-deleted --user says by whom; mailstead undelete brings back what is kept"},
	{"MailsteadRemovalsUnrecorded", `increase(` + metrics.Unrecorded + `[1h]) > 0`, "0m", warning, "the record of removals has gaps",
		"the disk of STATE is full, or a user had more on one day than the record holds"},
	{"MailsteadErrors", `sum(increase(` + metrics.Logged + `{level="error"}[15m])) > 0`, "0m", warning, "the daemon has logged errors",
		"journalctl -u 'mailstead-*' -p err; docs/logs.md says what each means"},
}

// AlertRules writes the rules as a file of Prometheus.
func AlertRules() []byte {
	var b strings.Builder
	b.WriteString("# Mailstead's alerts: a file for rule_files of prometheus.yml.\ngroups:\n  - name: mailstead\n    rules:\n")
	for _, a := range Alerts {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: %s\n        for: %s\n        labels:\n          severity: %s\n        annotations:\n          summary: %s\n          description: %s\n",
			a.Name, quoted(a.Expr), a.For, a.Severity, quoted(a.Summary), quoted(a.Do))
	}
	return []byte(b.String())
}

// quoted is a string of YAML in single quotes, in which nothing but these is special.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

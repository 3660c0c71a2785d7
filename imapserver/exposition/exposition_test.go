package exposition

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/metrics"
)

// get asks a handler for its metrics.
func get(t *testing.T, source Source) (int, string) {
	t.Helper()
	s := httptest.NewServer(Handler(slog.New(slog.DiscardHandler), source))
	defer s.Close()
	r, err := http.Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// example is a series of each metric.
func example() []metrics.Series {
	c := &metrics.Counts{}
	var gauges []metrics.Series
	for _, row := range metrics.Table {
		var labels []string
		for _, l := range row.Labels {
			labels = append(labels, append(l.Values, "imaps")[0])
		}
		switch {
		case row.Type == metrics.Histogram:
			c.Observe(row.Name, 3*time.Millisecond, labels...)
			c.Observe(row.Name, time.Minute, labels...)
		case row.Type == metrics.Counter:
			c.Add(row.Name, 2, labels...)
		case row.Name != metrics.Up:
			gauges = append(gauges, metrics.Series{Name: row.Name, Labels: labels, Sum: 2})
		}
	}
	return append(c.List(), gauges...)
}

func TestHandler(t *testing.T) {
	code, text := get(t, func(context.Context) ([]metrics.Series, error) { return example(), nil })
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	for _, row := range metrics.Table {
		if !strings.Contains(text, fmt.Sprintf("# TYPE %s %s\n%s", row.Name, row.Type, row.Name)) {
			t.Errorf("no %s in\n%s", row.Name, text)
		}
	}
	for _, want := range []string{`mailstead_fsync_seconds_bucket{le="0.0025"} 0`, `mailstead_fsync_seconds_bucket{le="0.005"} 1`, `mailstead_fsync_seconds_bucket{le="+Inf"} 2`,
		"mailstead_up 1", `mailstead_logins_total{listener="imaps",mechanism="command",result="ok"} 2`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestAway: that auth is away is a metric too.
func TestAway(t *testing.T) {
	code, text := get(t, func(context.Context) ([]metrics.Series, error) { return nil, errors.New("away") })
	if code != http.StatusOK || !strings.HasSuffix(text, "\nmailstead_up 0\n") {
		t.Errorf("%d %s", code, text)
	}
}

var named = regexp.MustCompile(`\bmailstead_[a-z_]+\b`)

// Every metric of the rules and the dashboard is one of the table, and there is none
// that nobody looks at.
func TestMetricsExist(t *testing.T) {
	rules, board := string(AlertRules()), string(Dashboard())
	for _, name := range named.FindAllString(rules+board, -1) {
		row, ok := metrics.Find(name)
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
				row, ok = metrics.Find(base)
				ok = ok && row.Type == metrics.Histogram
			}
		}
		if !ok {
			t.Errorf("there is no %s", name)
		}
	}
	for _, row := range metrics.Table {
		if !strings.Contains(board, row.Name) {
			t.Errorf("%s is on no panel", row.Name)
		}
	}
	if !json.Valid([]byte(board)) {
		t.Error("the dashboard is no JSON")
	}
}

// TestPromtool has Prometheus itself read the rules and the metrics, where it is
// installed.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool (Debian: prometheus)")
	}
	rules := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(rules, AlertRules(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "check", "rules", rules).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	_, text := get(t, func(context.Context) ([]metrics.Series, error) { return example(), nil })
	check := exec.Command(tool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// manual is the generated part of docs/metrics.md.
func manual() []byte {
	var b bytes.Buffer
	b.WriteString("## The metrics\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, row := range metrics.Table {
		var labels []string
		for _, l := range row.Labels {
			text := "`" + l.Name + "`"
			if len(l.Values) > 0 {
				text += ": " + strings.Join(l.Values, ", ")
			}
			labels = append(labels, text)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", row.Name, row.Type, strings.Join(labels, "; "), row.Help)
	}
	b.WriteString("\n## The alerts\n\n| alert | severity | holds for | what it says | what to do |\n|---|---|---|---|---|\n")
	for _, a := range Alerts {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", a.Name, a.Severity, a.For, a.Summary, strings.ReplaceAll(a.Do, "|", `\|`))
	}
	return b.Bytes()
}

func TestManual(t *testing.T) {
	const file = "../../docs/metrics.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := bytes.Cut(text, []byte("## The metrics\n"))
	if !ok {
		t.Fatalf("%s has no part to compare", file)
	}
	want := append(bytes.Clone(head), manual()...)
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s is not what the table says (MAILSTEAD_UPDATE=1 writes it):\n%s", file, diff)
	}
}

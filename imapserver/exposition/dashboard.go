package exposition

import (
	"encoding/json"

	"mailstead/imapserver/metrics"
)

// view is a panel of the dashboard.
type view struct {
	title, unit string // a unit as Grafana calls it
	stat        bool   // one number rather than a curve
	queries     []query
}

type query struct{ expr, legend string }

// views is every panel, in rows of three.
var views = []view{
	{"Auth", "bool_on_off", true, []query{{metrics.Up, ""}}},
	{"Sessions", "short", true, []query{{"sum(" + metrics.Sessions + ")", ""}}},
	{"Certificates: days left", "d", true, []query{{"(" + metrics.Certificate + " - time()) / 86400", "{{certificate}}"}}},
	{"Sessions by listener", "short", false, []query{{metrics.Sessions, "{{listener}}"}}},
	{"Connections", "cps", false, []query{
		{"sum by (listener) (rate(" + metrics.Connections + "[5m]))", "{{listener}}"},
		{"sum by (listener) (rate(" + metrics.Refused + "[5m]))", "{{listener}} refused"},
	}},
	{"Logins", "ops", false, []query{{"sum by (mechanism, result) (rate(" + metrics.Logins + "[5m]))", "{{mechanism}} {{result}}"}}},
	{"Refused, by reason", "ops", false, []query{{"sum by (reason) (rate(" + metrics.Refusals + "[5m]))", "{{reason}}"}}},
	{"Logins at proxies", "ops", false, []query{{"sum by (listener, what) (rate(" + metrics.ProxyLogins + "[5m]))", "{{listener}} {{what}}"}}},
	{"Connections kept by proxies", "short", false, []query{
		{metrics.ProxyIdle, "{{listener}}"},
		{"sum by (listener) (increase(" + metrics.ProxyStale + "[5m]))", "{{listener}} found dead"},
	}},
	{"Commands", "ops", false, []query{{"topk(10, sum by (command) (rate(" + metrics.Commands + "_count[5m])))", "{{command}}"}}},
	{"Commands: 95 of 100 within", "s", false, []query{{"topk(10, histogram_quantile(0.95, sum by (le, command) (rate(" + metrics.Commands + "_bucket[5m]))))", "{{command}}"}}},
	{"Octets", "Bps", false, []query{{"sum by (direction) (rate(" + metrics.Octets + "[5m]))", "{{direction}}"}}},
	{"Sync of the disk", "s", false, []query{
		{"histogram_quantile(0.5, sum by (le) (rate(" + metrics.Fsync + "_bucket[5m])))", "half"},
		{"histogram_quantile(0.99, sum by (le) (rate(" + metrics.Fsync + "_bucket[5m])))", "99 of 100"},
	}},
	{"Messages removed", "short", false, []query{{"sum by (how) (increase(" + metrics.Removed + "[5m]))", "{{how}}"}}},
	{"What is wrong", "short", false, []query{
		{"sum by (level) (increase(" + metrics.Logged + "[5m]))", "log: {{level}}"},
		{"sum(increase(" + metrics.Rebuilds + "[5m]))", "indexes made anew"},
		{"sum(increase(" + metrics.Unrecorded + "[5m]))", "removals not recorded"},
		{"sum by (in) (increase(" + metrics.Faults + "[5m]))", "faults: {{in}}"},
	}},
	{"Workers", "short", false, []query{{metrics.Workers, "workers"}}},
	{"Users", "short", true, []query{{metrics.Users, ""}}},
	{"Version", "short", true, []query{{metrics.Build, "{{version}}"}}},
}

// object is an object of JSON: Grafana's model has hundreds of fields, of which this
// needs a few.
type object map[string]any

// The size of a panel in Grafana's grid, which is 24 wide.
const (
	panelWidth  = 8
	panelHeight = 7
)

// Dashboard writes the dashboard as Grafana imports it.
func Dashboard() []byte {
	source := object{"type": "prometheus", "uid": "${source}"}
	var panels []object
	for i, v := range views {
		var targets []object
		for n, q := range v.queries {
			targets = append(targets, object{"datasource": source, "expr": q.expr, "legendFormat": q.legend, "refId": string(rune('A' + n))})
		}
		sort := "timeseries"
		if v.stat {
			sort = "stat"
		}
		panels = append(panels, object{
			"id": i + 1, "type": sort, "title": v.title, "datasource": source, "targets": targets,
			"gridPos":     object{"x": i % 3 * panelWidth, "y": i / 3 * panelHeight, "w": panelWidth, "h": panelHeight},
			"fieldConfig": object{"defaults": object{"unit": v.unit, "min": 0}, "overrides": []object{}},
		})
	}
	data, err := json.MarshalIndent(object{
		"uid": "mailstead", "title": "Mailstead", "tags": []string{"mail"}, "schemaVersion": 39, "version": 1, "editable": true, "refresh": "1m",
		"time": object{"from": "now-6h", "to": "now"},
		"templating": object{"list": []object{
			{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
		}},
		"panels": panels,
	}, "", "  ")
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return append(data, '\n')
}

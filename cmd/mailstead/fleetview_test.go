package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile"
	"mailstead/schema"
)

// fleetPlan is the plan of one of many hosts, as it comes from the far end.
func fleetPlan(t *testing.T, n int, alter func(*reconcile.Plan)) hostPlan {
	t.Helper()
	name := fmt.Sprintf("mx%02d.example.org", n)
	p := samplePlan()
	p.Host = name
	digest := fmt.Sprintf("%064x", n)
	for i := range p.Changes {
		c := &p.Changes[i]
		c.Reason = strings.ReplaceAll(c.Reason, "older", "older "+digest[52:])
		for _, r := range []*reconcile.Resource{c.Have, c.Want} {
			if r == nil {
				continue
			}
			for j := range r.Attrs {
				r.Attrs[j].Value = strings.ReplaceAll(r.Attrs[j].Value, "bbbb", digest)
				if c.Ref.Kind == "daemon-config" && r.Attrs[j].Name == contentAttr {
					r.Attrs[j].Value += name
				}
			}
		}
	}
	p.Blocked[0].Ref.Name = name
	for i := range p.Blocked {
		p.Blocked[i].Command = strings.ReplaceAll(p.Blocked[i].Command, "mail.example.org", name)
	}
	if alter != nil {
		alter(p)
	}
	key := []byte("of the run")
	return hostPlan{host: &schema.Host{Name: name}, steps: stepsOf(p, key), plan: p.Save([]byte(name), time.Unix(0, 0))}
}

// The same change on many hosts stands there once: also where it is about the
// host's own name, where what follows from that is a digest, and where secrets
// are digests under the key of each host. What differs does not.
func TestFleetOutput(t *testing.T) {
	var plans []hostPlan
	for n := 1; n <= 12; n++ {
		plans = append(plans, fleetPlan(t, n, func(p *reconcile.Plan) {
			switch n {
			case 3: // another secret under the same name
				p.Changes[2].Want.Attrs[2].Value += "another"
			case 4:
				p.Changes = p.Changes[:1]
				p.Notes = nil
			case 5:
				p.Changes, p.Blocked, p.Unreadable, p.Notes = nil, nil, nil, nil
			}
		}))
	}
	plans = append(plans, hostPlan{host: &schema.Host{Name: "mx13.example.org"}, err: hint(errors.New("connect to mx13.example.org: No route\x1b to host"), "look at the cable")})
	for name, verbose := range map[string]bool{"fleet.txt": false, "fleet-verbose.txt": true} {
		var got bytes.Buffer
		writeFleet(&console{}, &got, plans, verbose)
		golden(t, name, got.String())
		if strings.Contains(got.String(), secretWord) || strings.Contains(got.String(), "\x1b") {
			t.Errorf("%s shows a secret or an escape character", name)
		}
	}
}

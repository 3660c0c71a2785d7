package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/schema"
)

// A host goes to the far end whole: with its secrets, and with the places in the
// description.
func TestRequest(t *testing.T) {
	config, err := schema.Load(schema.Options{Inputs: []string{"../../examples/family"}})
	if err != nil {
		t.Fatal(err)
	}
	host := config.Hosts[0]
	sent := (&far{key: []byte("key")}).request(host)
	body, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	build := func(h *schema.Host) string {
		list, err := desired.Build(h, reconcile.Facts{FreeIDs: []int{999, 998, 997, 996}}, desired.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, r := range list {
			b.WriteString(r.Ref.String() + r.Origin)
			for _, a := range r.Attrs {
				b.WriteString(a.Name + a.Value)
			}
		}
		return b.String()
	}
	if want := build(host); build(got.Host) != want || !strings.Contains(want, "$argon2id$") {
		t.Error("the far end would make another host")
	}
}

// Whatever is asked of the far end, it is refused or can be built: nothing that
// a request leaves out makes the program fall over.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(`{"host":{"Name":"mx.example.org","Users":[{"Name":"u","Virtual":{}}],"TLS":{"Certificates":[{"Name":"c","Certbot":{}}]},"Listeners":[{"Name":"imap","Port":1}],"Mail":{"User":"vmail","Root":"/v"},"Paths":{"State":"/s","Run":"/r","Bin":"/b","Units":"/u","Letsencrypt":"/l"}},"hashes":{"u":"$6$"},"key":"aGk="}`))
	f.Add([]byte(`{"host":{"Name":"x","Users":[{"System":{}}],"Folders":[{}]},"rootless":true,"agreed":[""]}`))
	f.Add([]byte(`{"host":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var q remoteRequest
		var list []reconcile.Resource
		var err error
		oracle.Cost(t, len(body), func() {
			if q, err = readRequest(body); err != nil {
				return
			}
			opts := desired.Options{Rootless: q.Rootless}
			desired.Request(q.Host, opts)
			list, err = desired.Build(q.Host, reconcile.Facts{FreeIDs: []int{999, 998, 997, 996}}, opts)
		})
		for _, r := range list {
			if bytes.ContainsAny([]byte(r.Get("path")), "\n\x00") {
				t.Fatalf("%s is at %q", r.Ref, r.Get("path"))
			}
		}
		if err == nil {
			stepsOf(&reconcile.Plan{Host: q.Host.Name, Changes: []reconcile.Change{{Want: &list[0]}}}, q.Key)
		}
	})
}

package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"runtime"
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

// A request becomes no more in memory than a host of its length does, whatever its lists
// have in them; one of many users is let pass.
func TestRequestOfNothings(t *testing.T) {
	users := []string{`{"host":{"Name":"x","Users":[`, `]}}`}
	for _, c := range []struct {
		list []string
		one  string
	}{
		{users, `{}`},
		{users, `null      `},
		{users, " \n{\t\"Virtual\": {}}"},
		{users, `{"Name":"\"","Imports":[{},null]}`},
		{users, `{"Folders":[{"Name":"]"}]}`},
		{[]string{`{"host":{"TLS":{"Certificates":[`, `]}}}`}, `{"Name":"\\"}`},
		{[]string{`{"host":null,"agreed":[`, `]}`}, `""`},
	} {
		body := []byte(c.list[0] + strings.Repeat(c.one+",", 16<<20/len(c.one)) + c.one + c.list[1])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readRequest(body)
		runtime.ReadMemStats(&after)
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || !strings.Contains(err.Error(), "its lists") || took > 16 {
			t.Errorf("%s: %d MiB, %.200v", c.one, took, err)
		}
	}
	dense := &schema.Host{Name: "mx.example.org", Users: make([]schema.User, 10_000)}
	for i := range dense.Users {
		dense.Users[i].Folders = make([]schema.Folder, 8)
	}
	for _, q := range []remoteRequest{{Host: dense}, {Host: &schema.Host{Name: "x"}, Agreed: []string{strings.Repeat(`",{`, 1<<20)}}} {
		body, err := json.Marshal(q)
		if err == nil {
			err = checkDensity(body)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// A request with what cannot be where it is ends there, and not when all of it has become
// something; one that has every field is let pass.
func TestRequestOfOtherKinds(t *testing.T) {
	for _, c := range []struct{ before, one, after, want string }{
		{`{"host":{"Name":"x","Users":[`, `0      `, `]}}`, "octet 30 cannot be a schema.User"},
		{`{"host":{"Name":"x","Users":[`, `"abcde"`, `]}}`, "cannot be a schema.User"},
		{`{"host":{"Name":"x","Users":[`, `false  `, `]}}`, "cannot be a schema.User"},
		{`{"host":{"Name":"x","Users":[`, `[1]    `, `]}}`, "cannot be a schema.User"},
		{`{"HOST":{"users":[{"folders":[`, `0      `, `]}]}}`, "cannot be a schema.Folder"},
		{`{"host":{"TLS":{"Certificates":[`, `0      `, `]}}}`, "cannot be a schema.Certificate"},
		{`{"agreed":[`, `{"a":"` + strings.Repeat("x", 60) + `"}`, `]}`, "cannot be a string"},
		{`{"agreed":[`, `1      `, `]}`, "cannot be a string"},
		{`{"hashes":{"x":"y",`, `"z":  0`, `}}`, "cannot be a string"},
		{`{"rootless":[`, `1      `, `]}`, "cannot be a bool"},
		{`{"wait":[`, `1      `, `]}`, `unknown field "wait"`},
		{`{"lock_wait":[`, `1      `, `]}`, "cannot be a time.Duration"},
	} {
		body := []byte(c.before + strings.Repeat(c.one+",", 16<<20/(len(c.one)+1)) + c.one + c.after)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readRequest(body)
		runtime.ReadMemStats(&after)
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || !strings.Contains(err.Error(), c.want) || took > 1 {
			t.Errorf("%s%s: %d MiB, %.200v", c.before, c.one, took, err)
		}
	}
	var full remoteRequest
	fill(reflect.ValueOf(&full).Elem())
	body, err := json.Marshal(full)
	if err == nil {
		err = checkKinds(body, remoteRequest{})
	}
	if err != nil || !bytes.Contains(body, []byte(`"Folders":[{`)) {
		t.Errorf("%v: %s", err, body)
	}
}

// fill sets every field, each list and map to one entry.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), e)
	case reflect.Struct:
		for _, f := range v.Fields() {
			if f.CanSet() {
				fill(f)
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
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

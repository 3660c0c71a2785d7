package schema

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// streamHost is a host for users in other files.
const streamHost = `hosts: "mail.example.org": {
	listeners: imaps: {}
	tls: certificates: "mail.example.org": certbot: {}
	folders: {Sent: use: "sent", Trash: use: "trash"}
	policies: staff: folders: Sent: use: "sent"
}
`

// streamUsers are users with every sort of fault, and a few without.
const streamUsers = `{"hosts": {"mail.example.org": {"users": {
  "alice": {}, "bob": {"policy": "staff", "folders": {"Caf\u00e9": {}}},
  "carol@example.org": {"password": {"hash": "$6$saltsalt$12345678901234567890123456789012345678901234567890123456789012345678901234567890123456"}},
  "dave": {"uid": "many", "home": 3, "folder": {}},
  "erin": {"password": {"hash": "secret"}, "home": "/home/erin"}, "frank": 7,
  "Ünknown  name": {}, "": {}, "root": {},
  "grace": {"policy": "stuff", "folders": {"Out": {"use": "sent"}}},
  "heidi": {"home": "/home/x", "uid": 1000},
  "ivan": {
    "home": "/home/x", "uid": 1000
  },
  "judy": {"home": "/home/j", "maildir": "/home/x/Maildir/in"},
  "mallory": {"uid": 1, "uid": 1002},
  "niaj": {"quota": {"storage": "5 parsecs"}, "capabilities": {"off": ["IDEL"]}, "expunge": "never"}
}, "sharing": {"virtual": 1}}}}
`

// streamLoad loads a directory, and tells whether users were checked one by one.
func streamLoad(t *testing.T, dir string, from int) (*Config, Diagnostics, bool) {
	t.Helper()
	l := &loader{opts: Options{Inputs: []string{dir}, streamFrom: from}, places: &place{}, faulty: map[string]bool{}, inboxRules: map[Pos]bool{}}
	var faults Diagnostics
	if l.inputs, faults = openInputs(l.opts.Inputs); len(faults) > 0 {
		t.Fatal(faults)
	}
	defer l.close()
	config := l.load()
	if len(l.faults) > 0 {
		return nil, l.report(), len(l.streams) > 0
	}
	return config, nil, len(l.streams) > 0
}

// sameEitherWay loads a description both ways.
func sameEitherWay(t *testing.T, dir string) (streamed bool) {
	t.Helper()
	want, wantFaults, _ := streamLoad(t, dir, 1<<30)
	got, faults, streamed := streamLoad(t, dir, 1)
	if diff := cmp.Diff(wantFaults, faults); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	return streamed
}

// TestStream: users who are checked one by one come to the same, to the column,
// as those who are evaluated with everything else; and where the rest of the
// description says something of them, they are evaluated with it.
func TestStream(t *testing.T) {
	for name, test := range map[string]struct {
		files    map[string]string
		streamed bool
	}{
		"alone":         {map[string]string{"host.cue": streamHost, "users.json": streamUsers}, true},
		"all in JSON":   {map[string]string{"users.json": streamUsers}, true},
		"broken":        {map[string]string{"host.cue": streamHost, "users.json": streamUsers[:700]}, false},
		"two files":     {map[string]string{"host.cue": streamHost, "a.json": streamUsers, "b.json": `{"hosts": {"mail.example.org": {"users": {"zoe": {}}}}}`}, true},
		"twice":         {map[string]string{"host.cue": streamHost, "a.json": streamUsers, "b.json": `{"hosts": {"mail.example.org": {"users": {"bob": {"policy": "none"}}}}}`}, false},
		"users in CUE":  {map[string]string{"host.cue": streamHost + `hosts: "mail.example.org": users: zoe: {}`, "users.json": streamUsers}, false},
		"a template":    {map[string]string{"host.cue": streamHost + `hosts: [string]: users: [string]: expunge: "trash"`, "users.json": streamUsers}, false},
		"any field":     {map[string]string{"host.cue": streamHost + `hosts: "mail.example.org": [=~"^us"]: [string]: policy: "staff"`, "users.json": streamUsers}, false},
		"closed":        {map[string]string{"host.cue": `hosts: "mail.example.org": #H` + "\n#H: {listeners: imaps: {}, \"users\": close({})}", "users.json": streamUsers}, false},
		"counted":       {map[string]string{"host.cue": streamHost + `_all: hosts`, "users.json": streamUsers}, false},
		"by an alias":   {map[string]string{"host.cue": streamHost + `X=_x: {}`, "users.json": streamUsers}, false},
		"a host's name": {map[string]string{"host.cue": `hosts: mx: {listeners: imaps: {}, tls: certificates: "mx.example.org": certbot: {}}` + "\nhosts: my: mx", "users.json": `{"hosts": {"mx": {"users": {"alice": {}}}}}`}, false},
		"surrogates":    {map[string]string{"host.cue": streamHost, "users.json": `{"hosts": {"mail.example.org": {"users": {"\ud83d\ude00": {}}}}}`}, false},
		"YAML":          {map[string]string{"host.cue": streamHost, "users.yaml": "hosts: mail.example.org: users: {}"}, false},
		"probe":         {map[string]string{"host.cue": streamHost + `hosts: "mail.example.org": probe: {user: "alize", file: "/etc/x"}`, "users.json": streamUsers}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if streamed := sameEitherWay(t, dir); streamed != test.streamed {
				t.Errorf("checked one by one: %v, want %v", streamed, test.streamed)
			}
		})
	}
}

// TestStreamArchives does so for the descriptions of the other tests.
func TestStreamArchives(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range archives {
		t.Run(filepath.Base(name), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for i, f := range ar.Files {
				if f.Name == "config.json" {
					ar.Files[i].Name = "config.txt"
				}
			}
			if err := txtar.Write(ar, dir); err != nil {
				t.Fatal(err)
			}
			sameEitherWay(t, dir)
		})
	}
}

package render

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailstead/schema"
)

// renderers are what a golden archive may hold: the first file, named
// KIND.json, is the input; the others are what comes of it. A refusal is the
// file "error".
var renderers = map[string]func(input []byte) (map[string][]byte, error){
	"daemon.json": func(input []byte) (map[string][]byte, error) {
		var d Daemon
		if err := decode(input, &d); err != nil {
			return nil, err
		}
		files, err := d.Render()
		return map[string][]byte{"config.json": files.Config, "users.ndjson": files.Users}, err
	},
	"service.json": func(input []byte) (map[string][]byte, error) {
		var s Service
		if err := decode(input, &s); err != nil {
			return nil, err
		}
		return onlyFile(ServiceUnit)(s.Render())
	},
	"roles.json": func(input []byte) (map[string][]byte, error) {
		var in struct {
			Login Login
			Spawn Spawn
		}
		if err := decode(input, &in); err != nil {
			return nil, err
		}
		files := map[string][]byte{}
		for name, render := range map[string]func() ([]byte, error){
			LoginUnit(in.Login.Listener): in.Login.Render,
			SpawnUnit:                    in.Spawn.Render,
			PAMUnit:                      PAMHelper{Systemd: in.Login.Systemd, Paths: in.Login.Paths}.Render,
			AuthSocketUnit:               func() ([]byte, error) { return AuthChannel(in.Login.Paths, in.Login.Account) },
			SpawnSocketUnit:              func() ([]byte, error) { return SpawnChannel(in.Spawn.Paths, ServiceUser) },
			PAMSocketUnit:                func() ([]byte, error) { return PAMChannel(in.Spawn.Paths, ServiceUser) },
		} {
			data, err := render()
			if err != nil {
				return nil, err
			}
			files[name] = data
		}
		return files, nil
	},
	"socket.json": func(input []byte) (map[string][]byte, error) {
		var l schema.Listener
		if err := decode(input, &l); err != nil {
			return nil, err
		}
		return onlyFile(SocketUnit(l.Name))(Socket(l))
	},
	"boot.json": func(input []byte) (map[string][]byte, error) {
		var b Boot
		if err := decode(input, &b); err != nil {
			return nil, err
		}
		return onlyFile(ApplyUnit)(b.Render())
	},
	"web.json": func(input []byte) (map[string][]byte, error) {
		var w Web
		if err := decode(input, &w); err != nil {
			return nil, err
		}
		files := map[string][]byte{}
		for unit, render := range map[string]func() ([]byte, error){
			WebUnit: w.Service, WebSocketUnit: w.Socket, WebAdminUnit: w.AdminSocket, WebAdminDoes: w.AdminService,
		} {
			text, err := render()
			if err != nil {
				return nil, err
			}
			files[unit] = text
		}
		return files, nil
	},
	"outbox.json": func(input []byte) (map[string][]byte, error) {
		var p schema.Paths
		if err := decode(input, &p); err != nil {
			return nil, err
		}
		socket, err := OutboxSocketUnit(p)
		if err != nil {
			return nil, err
		}
		service, err := OutboxService(p, "/usr/sbin/sendmail")
		return map[string][]byte{OutboxUnit: socket, OutboxSends: service}, err
	},
	"lmtp.json": func(input []byte) (map[string][]byte, error) {
		var in struct {
			LMTP
			Socket, Group string
		}
		if err := decode(input, &in); err != nil {
			return nil, err
		}
		socket, err := LMTPSocket(in.Socket, in.Group)
		if err != nil {
			return nil, err
		}
		service, err := in.LMTP.Render()
		return map[string][]byte{LMTPSocketUnit: socket, LMTPUnit: service}, err
	},
	"cert-check.json": func(input []byte) (map[string][]byte, error) {
		var c CertCheck
		if err := decode(input, &c); err != nil {
			return nil, err
		}
		timer, err := c.Timer()
		if err != nil {
			return nil, err
		}
		service, err := c.Service()
		return map[string][]byte{CheckUnit: service, CheckTimer: timer}, err
	},
	"hook.json": func(input []byte) (map[string][]byte, error) {
		var p schema.Paths
		if err := decode(input, &p); err != nil {
			return nil, err
		}
		return onlyFile("hook")(DeployHook(p))
	},
	"pam.json": func(input []byte) (map[string][]byte, error) {
		var p schema.PAM
		err := decode(input, &p)
		return onlyFile("pam")(PAMService(p.Session), err)
	},
}

func onlyFile(name string) func([]byte, error) (map[string][]byte, error) {
	return func(data []byte, err error) (map[string][]byte, error) {
		return map[string][]byte{name: data}, err
	}
}

func decode(input []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(input))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			render := renderers[a.Files[0].Name]
			if render == nil {
				t.Fatalf("the first file is %s, which is no input", a.Files[0].Name)
			}
			got, err := render(a.Files[0].Data)
			if err != nil {
				got = map[string][]byte{"error": []byte(err.Error() + "\n")}
			}
			if os.Getenv("MAILSTEAD_UPDATE") == "1" {
				update(t, name, a, got)
				return
			}
			want := map[string][]byte{}
			for _, f := range a.Files[1:] {
				want[f.Name] = f.Data
			}
			if diff := cmp.Diff(texts(want), texts(got)); diff != "" {
				t.Errorf("(-want +got; MAILSTEAD_UPDATE=1 writes it):\n%s", diff)
			}
		})
	}
}

func texts(files map[string][]byte) map[string]string {
	out := map[string]string{}
	for name, data := range files {
		out[name] = string(data)
	}
	return out
}

func update(t *testing.T, name string, a *txtar.Archive, got map[string][]byte) {
	t.Helper()
	a.Files = a.Files[:1]
	for _, file := range []string{"config.json", "users.ndjson", CheckUnit, OutboxUnit} {
		if data, ok := got[file]; ok {
			a.Files = append(a.Files, txtar.File{Name: file, Data: data})
			delete(got, file)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(got)) {
		a.Files = append(a.Files, txtar.File{Name: file, Data: got[file]})
	}
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

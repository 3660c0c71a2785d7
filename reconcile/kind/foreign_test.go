package kind

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile"
)

// TestForeignFile: a file is ours by its first lines, by its place or by the
// inventory, and nobody else's is replaced.
func TestForeignFile(t *testing.T) {
	const mark = "#!/bin/sh\n" + ownMark + "whatever\n"
	for _, tc := range []struct {
		kind, have, want string
		mode             os.FileMode
		foreign          bool
	}{
		{"pam-service", "@include common-auth\n", mark, 0o644, true},
		{"pam-service", mark + "edited\n", mark, 0o644, false},
		{"deploy-hook", "#!/bin/sh\nreload mine\n", mark, 0o755, true},
		{"deploy-hook", "#!/bin/sh\n" + mark + "of an older version\n", mark, 0o755, false},
		{"file", "theirs", "ours", 0o600, true},
		{"file", "the same", "the same", 0o644, false},
		{"daemon-config", "{}", "{ }", 0o644, false},
		{"password-file", "{}", "{ }", 0o600, false},
	} {
		b := newBench(t)
		path := b.path("f")
		b.must(os.WriteFile(path, []byte(tc.have), tc.mode))
		want := File(tc.kind, FileSpec{Path: path, Mode: tc.mode, Content: []byte(tc.want)}, "")
		p := b.compare(want)
		if got := len(p.Blocked) == 1; got != tc.foreign {
			t.Errorf("%s of %q: %q", tc.kind, tc.have, b.plan(want))
		}
		if err := b.tryApply(want); err != nil {
			t.Error(err)
		}
		if kept := b.content(path) == tc.have; kept != (tc.foreign || tc.have == tc.want) {
			t.Errorf("%s of %q is %q now", tc.kind, tc.have, b.content(path))
		}
		if !tc.foreign {
			continue
		}
		p, err := reconcile.Compare(t.Context(), reconcile.Inputs{Want: []reconcile.Resource{want}, Table: b.host.Table(), State: b.state, Take: []string{"*"}})
		b.must(err)
		for _, a := range p.Changes[0].Have.Attrs {
			if public := tc.mode&0o004 != 0; a.Name == "content" && a.Secret == public {
				t.Errorf("%s with mode %04o: its content is secret: %v", tc.kind, tc.mode, a.Secret)
			}
		}
		_, err = reconcile.Apply(t.Context(), p, reconcile.Options{Table: b.host.Table(), State: b.state})
		b.must(err)
		if got := b.content(path); got != tc.want {
			t.Errorf("with --take: %q", got)
		}
		b.apply(want)
	}
}

// TestForeignCopy: somebody else's file keeps a copy of a bundle from being
// written, and not the bundle.
func TestForeignCopy(t *testing.T) {
	b := newBench(t)
	b.must(os.Mkdir(b.path("etc"), 0o700))
	spec := CertificateSpec{Name: "c", Names: []string{"c.example"}, Source: SelfSigned, Days: 90,
		Bundle: b.path("c.pem"), Stitched: filepath.Join(b.dir, "etc", "imapd.pem")}
	b.must(os.WriteFile(spec.Stitched, []byte("made by hand"), 0o600))
	want := func() reconcile.Resource { return Certificate(spec, ReadCertificate(t.Context(), spec), "") }
	waits := []string{"blocked certificate/c: " + spec.Stitched + " is there, and Mailstead did not write it"}
	b.wantPlan(append([]string{"create certificate/c: missing"}, waits...), want())
	for range 2 {
		if err := b.tryApply(want()); err != nil {
			t.Fatal(err)
		}
		b.wantPlan(waits, want())
	}
	if got := b.content(spec.Stitched); got != "made by hand" {
		t.Fatalf("it was replaced: %q", got)
	}
	b.must(os.Remove(spec.Stitched)) // the other way to say yes
	b.apply(want())
	if diff := cmp.Diff(b.content(spec.Bundle), b.content(spec.Stitched)); diff != "" {
		t.Error(diff)
	}
	b.must(os.WriteFile(spec.Stitched, []byte("edited"), 0o600))
	b.wantPlan([]string{"update certificate/c: stitched state differs from the bundle, want good"}, want())
}

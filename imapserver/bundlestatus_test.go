package imapserver

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver/control"
)

// TestBundlesOfLogins: a status has what a login serves where that is not what it should,
// by the leaf and by what is sent behind it, whatever other logins serve.
func TestBundlesOfLogins(t *testing.T) {
	c := partedConfig(t.TempDir())
	alone := issue(t, time.Now().Add(time.Hour), "mail.example")
	chained := append(slices.Clone(alone), alone[bytes.Index(alone, []byte("-----BEGIN CERTIFICATE")):]...) // it has signed itself
	leaf, chain := bundleStatus(settingsOf(t, c, nil, alone).Bundles), bundleStatus(settingsOf(t, c, nil, chained).Bundles)
	if leaf[0].Fingerprint != chain[0].Fingerprint || leaf[0].Chain == chain[0].Chain || len(chain[0].Chain) != 64 {
		t.Fatalf("%+v\n%+v", leaf, chain)
	}
	got := slices.Clone(chain)
	for _, login := range [][]control.Bundle{chain, leaf, chain} {
		unlike(got, chain, login)
	}
	if got[0].Chain != leaf[0].Chain {
		t.Errorf("a login that serves the leaf alone is told to serve %+v", got[0])
	}
	unlike(got, chain, nil)
	if got[0].Fingerprint != "" {
		t.Errorf("a login that serves nothing is told to serve %+v", got[0])
	}
}

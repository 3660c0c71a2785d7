package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strings"

	"mailstead/reconcile"
)

// step is what identifies a change of a plan to whoever has the key of the run.
type step struct {
	// Exact is the digest of what there was and what is wanted: a plan that is
	// made again has the same where nothing has changed. What runs is left out:
	// it follows from the rest, and may start and stop by itself.
	Exact string `json:"exact"`
	// Alike is the same for changes of several hosts that differ in the host's
	// own name alone, and in digests, which follow from what differs.
	Alike string `json:"alike"`
}

// stepsOf gives the steps of a plan, one for each of its changes.
func stepsOf(p *reconcile.Plan, key []byte) []step {
	steps := make([]step, len(p.Changes))
	same := func(s string) string { return s }
	general := func(s string) string { return generalize(s, p.Host) }
	for i, c := range p.Changes {
		steps[i] = step{Exact: changeDigest(c, key, false, same), Alike: changeDigest(c, key, true, general)}
	}
	return steps
}

// changeDigest is the digest under the key of what a change says, each word as
// the function gives it.
func changeDigest(c reconcile.Change, key []byte, running bool, word func(string) string) string {
	m := hmac.New(sha256.New, key)
	put := func(s string) { putWord(m, word(s)) }
	put(c.Ref.Kind)
	put(c.Ref.Name)
	put(string(c.Op))
	for _, r := range []*reconcile.Resource{c.Have, c.Want} {
		if r == nil {
			putWord(m, "nothing")
			continue
		}
		for _, a := range r.Attrs {
			if running || !a.Runs && !a.Shared {
				put(a.Name)
				put(a.Value)
			}
		}
		putWord(m, "end")
	}
	return hex.EncodeToString(m.Sum(nil))
}

// putWord writes a word so that no two lists of words are the same.
func putWord(h hash.Hash, s string) {
	fmt.Fprintf(h, "%d:", len(s))
	io.WriteString(h, s)
}

// hostMark stands for the name of each of several hosts.
const hostMark = "<host>"

var (
	wholeDigest = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{32})\b`) // a SHA-256, or a generation
	shownDigest = regexp.MustCompile(`\b[0-9a-f]{12}\b`)                // as a reason shows it
)

// generalize puts hostMark in the place of a host's name, and takes digests out.
func generalize(s, host string) string {
	s = strings.ReplaceAll(s, host, hostMark)
	if len(s) < 12 {
		return s
	}
	return wholeDigest.ReplaceAllString(s, "<digest>")
}

package main

import (
	"strings"
	"testing"
)

// A look at what Courier cannot represent does not go on to the question about
// stopping Mailstead.
func TestHandbackHostCheck(t *testing.T) {
	state := t.TempDir()
	s, err := openTakeover(t.Context(), state, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.enter(&takeover{}, servingOwn); err != nil {
		t.Fatal(err)
	}
	s.close()
	cmd := newRoot()
	cmd.SetArgs([]string{"handback", "--check", "--state", state})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "--check looks at one Maildir") {
		t.Error(err)
	}
}

package main

import "testing"

// Nothing in a string from elsewhere is obeyed by a terminal, of 8 bits or of UTF-8.
func TestVisible(t *testing.T) {
	for s, want := range map[string]string{
		"a\x9b31mb":     "a\uFFFD31mb",
		"\x1b[2J\x9bJ":  "\\u001b[2J\uFFFDJ",
		"a\u009b31mb":   "a\\u009b31mb",
		"x\u202ey\nz":   "x\\u202ey\\u000az",
		"wörld \uFFFD€": "wörld \uFFFD€",
	} {
		if got := visible(s); got != want {
			t.Errorf("visible(%q) = %q, want %q", s, got, want)
		}
	}
	if got, want := visibleLines("a\n\x9bb"), "a\n\uFFFDb"; got != want {
		t.Errorf("visibleLines: %q, want %q", got, want)
	}
}

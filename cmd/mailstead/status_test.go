package main

import (
	"context"
	"errors"
	"testing"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
)

// TestStatusInterrupted: whoever does not wait for a daemon is told nothing of it.
func TestStatusInterrupted(t *testing.T) {
	h := newHookHost(t)
	l, err := lookAt(t.Context(), h.host, desired.Options{Rootless: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := l.status(ctx, &reconcile.Plan{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", s, err)
	}
}

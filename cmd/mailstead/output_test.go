package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

// failing cannot be written to.
type failing struct{}

func (failing) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "stdout", Err: unix.ENOSPC}
}

// TestOutputLost: the loss of what a command says hides nothing else that went wrong.
func TestOutputLost(t *testing.T) {
	lost := &output{Writer: failing{}}
	if _, err := lost.Write([]byte("x")); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	other := errors.New("other")
	for _, c := range []struct {
		err   error
		other bool
	}{
		{nil, false}, {lost.failed, false}, {fmt.Errorf("write: %w", lost.failed), false}, {&exitError{code: exitPending}, false},
		{errors.Join(lost.failed, &exitError{code: exitPending}), false},
		{other, true}, {&exitError{exitPartial, other}, true}, {errors.Join(lost.failed, other), true},
		{fmt.Errorf("purge: %w", errors.Join(lost.failed, other)), true},
	} {
		if err := lost.ended(c.err); errors.Is(err, other) != c.other || !c.other && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%v: %v", c.err, err)
		}
		if err := (&output{Writer: new(bytes.Buffer)}).ended(c.err); err != c.err {
			t.Errorf("%v, and all was written: %v", c.err, err)
		}
	}
}

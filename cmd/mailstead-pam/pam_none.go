//go:build !pam || !cgo

package main

import "mailstead/imapserver/handoff"

// built says whether this program can ask PAM.
const built = false

func login(string, bool, handoff.PAMRequest) (handoff.PAMAnswer, error) {
	return handoff.PAMAnswer{Result: handoff.PAMError, Detail: errWithout.Error()}, nil
}

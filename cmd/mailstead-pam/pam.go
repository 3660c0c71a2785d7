//go:build pam && cgo

package main

/*
#cgo LDFLAGS: -lpam
#include <linux/capability.h>
#include <sys/socket.h>
#include "pam.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"mailstead/imapserver/handoff"
)

// built says whether this program can ask PAM.
const built = true

// results are what the phases of pam.h come to.
var results = map[C.uint32_t]handoff.PAMResult{
	C.LOGIN_OK:      handoff.PAMOK,
	C.LOGIN_REFUSED: handoff.PAMRefused,
	C.LOGIN_EXPIRED: handoff.PAMExpired,
	C.LOGIN_ACCOUNT: handoff.PAMAccount,
	C.LOGIN_ERROR:   handoff.PAMError,
}

// login has the guard go through PAM's phases. An error means that the guard is
// gone.
func login(service string, session bool, r handoff.PAMRequest) (handoff.PAMAnswer, error) {
	var q C.struct_question
	defer func() { q = C.struct_question{} }()
	for _, s := range []struct {
		to   []C.char
		from string
	}{{q.service[:], service}, {q.user[:], r.User}, {q.password[:], r.Password}, {q.remote[:], r.Remote}} {
		if len(s.from) >= len(s.to) {
			return handoff.PAMAnswer{Result: handoff.PAMRefused, Detail: fmt.Sprintf("more than %d octets", len(s.to)-1)}, nil
		}
		for i := range len(s.from) {
			s.to[i] = C.char(s.from[i])
		}
	}
	q.within = C.uint32_t(r.Within)
	if session {
		q.session = 1
	}
	guard := C.mailstead_guarded()
	if n := C.send(guard, unsafe.Pointer(&q), C.sizeof_struct_question, C.MSG_NOSIGNAL); n != C.sizeof_struct_question {
		return handoff.PAMAnswer{}, errGuard
	}
	var a C.struct_answer
	if n := C.recv(guard, unsafe.Pointer(&a), C.sizeof_struct_answer, 0); n != C.sizeof_struct_answer {
		return handoff.PAMAnswer{}, errGuard
	}
	return handoff.PAMAnswer{Result: results[a.outcome], Detail: C.GoString(&a.detail[0])}, nil
}

var errGuard = errors.New("the process that watches PAM's modules has ended")

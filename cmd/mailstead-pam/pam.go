//go:build pam && cgo

package main

/*
#cgo LDFLAGS: -lpam
#include <stdlib.h>
#include "pam.h"
*/
import "C"

import (
	"unsafe"

	"mailstead/imapserver/handoff"
)

// built says whether this program can ask PAM.
const built = true

// results are what the phases of pam.h come to.
var results = map[C.enum_outcome]handoff.PAMResult{
	C.LOGIN_OK:      handoff.PAMOK,
	C.LOGIN_REFUSED: handoff.PAMRefused,
	C.LOGIN_EXPIRED: handoff.PAMExpired,
	C.LOGIN_ACCOUNT: handoff.PAMAccount,
	C.LOGIN_ERROR:   handoff.PAMError,
}

// login goes through PAM's authentication and account phases.
func login(service string, r handoff.PAMRequest) handoff.PAMAnswer {
	var detail [256]C.char
	args := [4]*C.char{C.CString(service), C.CString(r.User), C.CString(r.Password), C.CString(r.Remote)}
	defer func() {
		for i, s := range args {
			if i == 2 {
				C.wipe(s)
			}
			C.free(unsafe.Pointer(s))
		}
	}()
	outcome := C.mailstead_login(args[0], args[1], args[2], args[3], &detail[0], C.size_t(len(detail)))
	return handoff.PAMAnswer{Result: results[outcome], Detail: C.GoString(&detail[0])}
}

#include "textflag.h"

// func foreignPID() int
TEXT ·foreignPID(SB), NOSPLIT, $0-8
	MOVL $20, AX // getpid, by its number there
	INT  $0x80
	MOVLQSX AX, AX
	MOVQ AX, ret+0(FP)
	RET

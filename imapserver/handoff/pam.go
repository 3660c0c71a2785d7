package handoff

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// MaxFrame bounds what auth and mailstead-pam say to each other. They talk
// over a stream, one question at a time: the length in four octets, most
// significant first, then JSON.
const MaxFrame = 16 << 10

// PAMRequest asks mailstead-pam for one login. The service is the helper's
// own, from its command line.
type PAMRequest struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Remote   string `json:"remote"` // address of the client, PAM_RHOST; "": not known
	// Within is how many milliseconds PAM's modules have. The helper itself cuts
	// them off: who asks need not have the power to kill it.
	Within int `json:"within"`
}

// PAMResult is what PAM said.
type PAMResult string

// The results.
const (
	PAMOK      PAMResult = "ok"      // authenticated, and the account may be used
	PAMRefused PAMResult = "refused" // not authenticated
	PAMExpired PAMResult = "expired" // authenticated; the password or the account has expired
	PAMAccount PAMResult = "account" // authenticated; the account may not be used here or now
	PAMError   PAMResult = "error"   // PAM could not tell
)

// PAMAnswer is the answer to PAMRequest. Detail is for the log.
type PAMAnswer struct {
	Result PAMResult `json:"result"`
	Detail string    `json:"detail,omitempty"`
}

// WriteFrame writes a question or an answer.
func WriteFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("write frame: %d octets, more than %d", len(body), MaxFrame)
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// ReadFrame reads a question or an answer into v. It is io.EOF where the peer
// has closed its end between two of them.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err == io.EOF {
		return io.EOF
	} else if err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("read frame: %d octets, more than %d", n, MaxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	if err := strict(body, v); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	return nil
}

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// maxAnswer bounds an answer: some thousand bundles.
const maxAnswer = 16 << 20

// askTimeout bounds a question whose context has no deadline. A reload reads
// all users, which takes seconds where there are a hundred thousand.
const askTimeout = 60 * time.Second

// ErrNotRunning says that nobody serves the control socket.
var ErrNotRunning = errors.New("the daemon is not running")

// Ask asks the daemon behind the control socket at path. A request that the
// daemon refused is no error here: Status.Error says why, and the rest of the
// Status is true. The errors: ErrNotRunning; fs.ErrPermission, as only root
// and the daemon's own user may ask; others are the connection's.
func Ask(ctx context.Context, path string, r Request) (Status, error) {
	var s Status
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
			err = ErrNotRunning
		}
		return s, fmt.Errorf("ask %s: %w", path, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return s, fmt.Errorf("ask %s: %w", path, cause(ctx, err))
	}
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&s); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the daemon gave no answer")
		}
		return s, fmt.Errorf("ask %s: %w", path, cause(ctx, err))
	}
	return s, nil
}

// cause prefers the reason why ctx ended to what that did to the connection.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

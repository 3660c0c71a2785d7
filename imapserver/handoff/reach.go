package handoff

import (
	"fmt"
	"os"
)

// Reach names, once, the server that a channel to who has the network is for: it answers
// Connect for that one alone. Who chooses says so before somebody else gets the channel.
type Reach struct {
	noFiles
	Server string `json:"server"` // host:port
}

// File gives a descriptor of the channel, for a child: its own Conn is to be closed
// then, so that the two are not at it at the same time.
func (c *Conn) File() (*os.File, error) {
	f, err := c.c.File()
	if err != nil {
		return nil, fmt.Errorf("channel for a child: %w", err)
	}
	return f, nil
}

package handoff

import (
	"fmt"
	"os"
)

// noFiles is for messages without descriptors and payload.
type noFiles struct{}

func (noFiles) files() []*os.File            { return nil }
func (noFiles) setFiles(fs []*os.File) error { return wantFiles(fs, 0) }
func (noFiles) payload() *[]byte             { return nil }

func (s *Settings) files() []*os.File { return s.Sockets }
func (s *Settings) payload() *[]byte  { return &s.Data }

func (s *Settings) setFiles(fs []*os.File) error {
	s.Sockets = fs
	return wantFiles(fs, len(s.Listeners))
}

func (s *State) files() []*os.File            { return nil }
func (s *State) setFiles(fs []*os.File) error { return wantFiles(fs, 0) }
func (s *State) payload() *[]byte             { return &s.Data }

func (o *Open) files() []*os.File { return []*os.File{o.Stream} }
func (o *Open) payload() *[]byte  { return nil }

func (o *Open) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	o.Stream = fs[0]
	return nil
}

// payload is not what Open's is: a session has one.
func (s *Session) payload() *[]byte { return &s.Neighbours }

func (h *Helper) payload() *[]byte { return nil }

func (h *Helper) files() []*os.File {
	if h.Pipe == nil {
		return nil
	}
	return []*os.File{h.Pipe}
}

func (h *Helper) setFiles(fs []*os.File) error {
	if h.Error != "" {
		return wantFiles(fs, 0)
	}
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	h.Pipe = fs[0]
	return nil
}

func wantFiles(fs []*os.File, n int) error {
	if len(fs) != n {
		return fmt.Errorf("%d descriptors instead of %d", len(fs), n)
	}
	return nil
}

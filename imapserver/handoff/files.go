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

func (o *Open) files() []*os.File { return []*os.File{o.Stream} }
func (o *Open) payload() *[]byte  { return nil }

func (o *Open) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	o.Stream = fs[0]
	return nil
}

func (l *Look) files() []*os.File { return []*os.File{l.Answer} }
func (l *Look) payload() *[]byte  { return nil }

func (l *Look) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	l.Answer = fs[0]
	return nil
}

func (w *Watch) files() []*os.File { return []*os.File{w.Sink} }
func (w *Watch) payload() *[]byte  { return nil }

func (w *Watch) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	w.Sink = fs[0]
	return nil
}

func (s *Session) files() []*os.File {
	fs := s.Open.files()
	for _, f := range []*os.File{s.Trace, s.Beside} {
		if f != nil {
			fs = append(fs, f)
		}
	}
	return fs
}

// setFiles knows Beside, which is sealed, from Trace, which is a socket.
func (s *Session) setFiles(fs []*os.File) error {
	if n := len(fs); n > 1 && sealed(fs[n-1], seals) {
		s.Beside, fs = fs[n-1], fs[:n-1]
	}
	if n := len(fs); n > 1 {
		s.Trace, fs = fs[n-1], fs[:n-1]
	}
	return s.Open.setFiles(fs)
}

// Close closes its descriptors.
func (s *Session) Close() {
	for _, f := range s.files() {
		f.Close()
	}
}

func wantFiles(fs []*os.File, n int) error {
	if len(fs) != n {
		return fmt.Errorf("%d descriptors instead of %d", len(fs), n)
	}
	return nil
}

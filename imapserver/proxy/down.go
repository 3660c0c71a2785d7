package proxy

import (
	"bytes"
	"time"
)

// down passes on what the server says, until one side has ended or the session has
// been undone, which is true.
func (s *session) down() (clean bool) {
	bye := false
	for {
		if s.pause() {
			return s.finished()
		}
		if s.veiled.Load() {
			s.lift()
			return false
		}
		s.out.begin()
		piece, end, err := s.out.next()
		s.mu.Lock()
		s.between = false
		s.mu.Unlock()
		if err != nil {
			s.lost(bye)
			return false
		}
		bye = bye || isBye(piece)
		if err := s.response(piece, end); err != nil {
			return false
		}
	}
}

// pause is between two responses. It says whether the session is over.
func (s *session) pause() bool {
	if s.out.br.Buffered() == 0 && !s.told {
		s.back.Flush() // an error comes back at the next write
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.between = true
	s.depart()
	return s.logout != "" && len(s.undo) == 0
}

// finished says whether the link may be kept.
func (s *session) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.told { // answers are missing, and will not come: the server has gone on to what was sent behind
		s.spoiled = true
		s.dismiss()
	}
	clean := !s.spoiled && s.open == 0 && s.out.br.Buffered() == 0
	s.link.nc.SetDeadline(time.Time{})
	return clean
}

// lost tells the client that the server is gone, unless that has said so itself.
func (s *session) lost(bye bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.told:
	case s.parting != "":
		s.back.WriteString("* BYE " + s.parting + "\r\n")
	case bye:
	case s.logout != "":
		s.dismiss()
	case !s.veiled.Load():
		s.front.log.Warn("server behind the proxy lost", "listener", s.front.name, "server", s.link.server.Address(), "user", s.link.user)
		s.back.WriteString("* BYE [UNAVAILABLE] The server behind this one has gone. Try again later.\r\n")
	}
	s.told = true
	s.back.Flush()
}

// isOK tells whether what follows a tag says that a command was done.
func isOK(rest []byte) bool {
	word, _, _ := bytes.Cut(bytes.TrimRight(rest, "\r\n"), []byte(" "))
	return bytes.EqualFold(word, []byte("OK"))
}

func isBye(piece []byte) bool {
	return len(piece) >= 5 && bytes.EqualFold(piece[:5], []byte("* BYE"))
}

// response passes on one response that begins with piece.
func (s *session) response(piece []byte, end bool) error {
	mute := s.note(piece)
	if end && !mute {
		piece = rewrite(piece, s.rules.off)
	}
	status := isStatus(piece)
	for {
		for {
			if err := s.write(piece, mute); err != nil {
				return err
			}
			if end {
				break
			}
			var err error
			if piece, end, err = s.out.next(); err != nil {
				return err
			}
		}
		n, _, ok := s.out.literal()
		if !ok || status {
			return nil
		}
		if err := pass(s.clientWriter(mute), s.out.br, n); err != nil {
			return err
		}
		s.out.begin()
		var err error
		if piece, end, err = s.out.next(); err != nil {
			return err
		}
	}
}

// write is between two pauses: nobody else writes to the client then.
func (s *session) write(piece []byte, mute bool) error {
	_, err := s.clientWriter(mute).Write(piece)
	return err
}

// clientWriter is the client, or nobody.
func (s *session) clientWriter(mute bool) interface{ Write([]byte) (int, error) } {
	if mute {
		return nobody{}
	}
	return s.back
}

type nobody struct{}

func (nobody) Write(b []byte) (int, error) { return len(b), nil }

// note takes note of a response. What is said to the proxy, or to a client that has
// gone, is for nobody.
func (s *session) note(piece []byte) (mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch tag, rest, _ := bytes.Cut(piece, []byte(" ")); {
	case string(tag) == "*" && isBye(piece):
		s.spoiled = true
		return s.told || s.parting != "" // which the client hears in its place
	case string(tag) == "*":
	case bytes.HasPrefix(tag, []byte("+")):
		s.goOn()
	case len(s.undo) > 0 && string(tag) == s.undo[0].tag:
		if isOK(rest) != s.undo[0].ok {
			s.spoiled = true
		}
		s.undo = s.undo[1:]
		return true
	case s.open == 0:
		s.spoiled = true // an answer to nothing
	default:
		if s.open--; s.open == 0 {
			s.idling = 0
			veiled := s.waits == toVeil && isOK(rest)
			s.veiled.Store(veiled)
			s.decide(veiled)
		}
	}
	return s.told
}

// goOn is a continuation request. mu is held.
func (s *session) goOn() {
	switch {
	case s.idling > 0:
		s.idling--
	case s.waits == toGoOn:
		s.decide(true)
	}
}

// decide tells up whether what it waits for has come, if it does wait. mu is held.
func (s *session) decide(comes bool) {
	if s.waits != nothing {
		s.waits = nothing
		s.verdict <- comes
	}
}

// lift copies what cannot be read along.
func (s *session) lift() {
	s.mu.Lock()
	s.back.Flush()
	s.mu.Unlock()
	s.out.br.WriteTo(s.client)
}

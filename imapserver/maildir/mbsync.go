package maildir

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// What mbsync leaves in a mailbox: the UIDs that it has given to the messages
// here, which stand in their names as ",U=<uid>", and those that they had on
// the server that they were fetched from.
const (
	MbsyncUIDFile   = ".uidvalidity"
	MbsyncStateFile = ".mbsyncstate"
)

// ErrMbsync says that a file of mbsync's holds nothing to go on.
var ErrMbsync = errors.New("not a file of mbsync's")

// MbsyncUIDs is a .uidvalidity file.
type MbsyncUIDs struct {
	Validity uint32
	Next     uint32
}

// ParseMbsyncUIDs reads a .uidvalidity file: the UIDVALIDITY and the highest
// UID, a line each.
func ParseMbsyncUIDs(data []byte) (MbsyncUIDs, error) {
	lines := strings.SplitAfter(string(data), "\n")
	if len(lines) < 2 || !strings.HasSuffix(lines[1], "\n") {
		return MbsyncUIDs{}, fmt.Errorf("%w: not two lines", ErrMbsync)
	}
	validity, err := parseUID(strings.TrimRight(lines[0], "\r\n"))
	if err != nil {
		return MbsyncUIDs{}, fmt.Errorf("%w: uidvalidity: %w", ErrMbsync, err)
	}
	highest, err := strconv.ParseUint(strings.TrimRight(lines[1], "\r\n"), 10, 32)
	if err != nil || highest == math.MaxUint32 {
		return MbsyncUIDs{}, fmt.Errorf("%w: highest uid %q", ErrMbsync, lines[1])
	}
	return MbsyncUIDs{Validity: validity, Next: uint32(highest) + 1}, nil
}

// MbsyncState is a .mbsyncstate file: what the messages of a mailbox were on
// the far side.
type MbsyncState struct {
	FarValidity  uint32
	NearValidity uint32
	FarNext      uint32            // above every far UID seen
	Far          map[uint32]uint32 // near UID to far UID; neither occurs twice
	Dropped      int               // lines that could not be used, or contradict others
}

// ParseMbsyncState reads a .mbsyncstate file: lines "<name> <number>", an empty
// line, then lines "<far uid> <near uid> <flags>". A UID of 0 is of a message
// that the other side does not have.
func ParseMbsyncState(data []byte) (MbsyncState, error) {
	head, body, whole := strings.Cut(string(data), "\n\n")
	if !whole {
		return MbsyncState{}, fmt.Errorf("%w: no empty line ends its heading", ErrMbsync)
	}
	s := MbsyncState{FarNext: 1, Far: make(map[uint32]uint32)}
	for line := range strings.Lines(head) {
		if err := s.heading(strings.TrimRight(line, "\r\n")); err != nil {
			return MbsyncState{}, fmt.Errorf("%w: %w", ErrMbsync, err)
		}
	}
	if s.FarValidity == 0 || s.NearValidity == 0 {
		return MbsyncState{}, fmt.Errorf("%w: it lacks a uidvalidity", ErrMbsync)
	}
	s.pairs(body)
	return s, nil
}

// pairs reads the lines behind the heading. Of two that claim the same UID, none
// can be trusted.
func (s *MbsyncState) pairs(body string) {
	nearOf := make(map[uint32]uint32) // by far UID
	seen := make(map[uint32]bool)     // near UIDs
	twice := make(map[uint32]bool)    // the same
	for line := range strings.Lines(body) {
		far, near, err := parsePair(line)
		s.FarNext = max(s.FarNext, far+1)
		if err != nil {
			s.Dropped++
			continue
		}
		old, taken := nearOf[far]
		if far != 0 && taken || near != 0 && seen[near] {
			s.Dropped++
			twice[old], twice[near] = true, true
		}
		seen[near] = true
		if far != 0 {
			nearOf[far] = near
		}
		if far != 0 && near != 0 {
			s.Far[near] = far
		}
	}
	for near := range twice {
		delete(s.Far, near)
	}
}

// heading reads one line of the heading. Names that are not known say nothing
// here.
func (s *MbsyncState) heading(line string) error {
	name, value, _ := strings.Cut(line, " ")
	n, err := strconv.ParseUint(value, 10, 32)
	switch name {
	case "FarUidValidity":
		s.FarValidity = uint32(n)
	case "NearUidValidity":
		s.NearValidity = uint32(n)
	case "MaxPulledUid":
		s.FarNext = max(s.FarNext, uint32(n)+1)
	default:
		return nil
	}
	if err != nil || n == math.MaxUint32 {
		return fmt.Errorf("%s %q", name, value)
	}
	return nil
}

func parsePair(line string) (far, near uint32, err error) {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.HasSuffix(line, "\n") {
		return 0, 0, errors.New("not two numbers")
	}
	f, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil || f == math.MaxUint32 {
		return 0, 0, fmt.Errorf("far uid %q", fields[0])
	}
	n, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return uint32(f), 0, fmt.Errorf("near uid %q", fields[1])
	}
	return uint32(f), uint32(n), nil
}

// MbsyncUID gives the UID that mbsync has put into a base name, 0 for none.
func MbsyncUID(base string) uint32 {
	i := strings.LastIndex(base, ",U=")
	if i < 0 {
		return 0
	}
	digits := base[i+len(",U="):]
	if j := strings.IndexByte(digits, ','); j >= 0 {
		digits = digits[:j]
	}
	n, err := parseUID(digits)
	if err != nil {
		return 0
	}
	return n
}

// Forwarded tells whether a suffix has the letter P, by which mbsync means
// $Forwarded.
func Forwarded(suffix string) bool {
	letters, _ := flagPart(suffix)
	return strings.Contains(letters, "P")
}

// UniqueName gives what is left of a base name without the fields at its end,
// `,S=123` and the like. Delivery agents, mbsync and quota tools add and change
// these: two names that differ in them alone are of one message.
func UniqueName(base string) string {
	for {
		i := strings.LastIndexByte(base, ',')
		if i <= 0 || len(base) < i+4 || base[i+1] < 'A' || base[i+1] > 'Z' || base[i+2] != '=' {
			return base
		}
		for _, c := range []byte(base[i+3:]) {
			if c < '0' || c > '9' {
				return base
			}
		}
		base = base[:i]
	}
}

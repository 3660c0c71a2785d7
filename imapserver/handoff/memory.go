package handoff

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// seals are what makes a memory file constant: the receiver need not fear that
// the sender writes to it, or shortens it, after it has been looked at.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Seal puts data into a memory file that nobody can change any more. It never
// reaches a disk, so it may hold keys.
func Seal(data []byte) (*os.File, error) {
	if len(data) > MaxPayload {
		return nil, fmt.Errorf("a payload of %d octets, more than %d", len(data), MaxPayload)
	}
	n, err := unix.MemfdCreate("mailstead", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	f := os.NewFile(uintptr(n), "memory")
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("write memory file: %w", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal memory file: %w", err)
	}
	return f, nil
}

// unseal reads what Seal has written, of so many octets at most.
func unseal(f *os.File, most int64) ([]byte, error) {
	if !sealed(f) {
		return nil, errors.New("the payload is no sealed memory file")
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat payload: %w", err)
	}
	if st.Size() > most {
		return nil, fmt.Errorf("a payload of %d octets, more than %d", st.Size(), most)
	}
	data := make([]byte, st.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, st.Size()), data); err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	return data, nil
}

func sealed(f *os.File) bool {
	n, err := fd(f)
	if err != nil {
		return false
	}
	have, err := unix.FcntlInt(uintptr(n), unix.F_GET_SEALS, 0)
	return err == nil && have&seals == seals
}

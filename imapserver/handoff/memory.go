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
	if !sealed(f, seals) {
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

func sealed(f *os.File, with int) bool {
	n, err := fd(f)
	if err != nil {
		return false
	}
	have, err := unix.FcntlInt(uintptr(n), unix.F_GET_SEALS, 0)
	return err == nil && have&with == with
}

// shared is the seals of memory that one process writes to and others read: it stays
// as long as it is, and nobody who gets the file can write.
const shared = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE

// Share makes memory of that size, all zero, to which this process alone can write:
// whoever is sent f can read it (Shared).
func Share(size int) (mem []byte, f *os.File, err error) {
	n, err := unix.MemfdCreate("mailstead", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("make shared memory: %w", err)
	}
	f = os.NewFile(uintptr(n), "memory")
	if err = f.Truncate(int64(size)); err == nil {
		mem, err = unix.Mmap(n, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(n), unix.F_ADD_SEALS, shared)
	}
	if err != nil {
		Unshare(mem)
		f.Close()
		return nil, nil, fmt.Errorf("make shared memory: %w", err)
	}
	return mem, f, nil
}

// Shared gives the memory that another process has made by Share, to read.
func Shared(f *os.File, size int) ([]byte, error) {
	n, err := fd(f)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat shared memory: %w", err)
	}
	// Memory that could become shorter would end who reads it.
	if !sealed(f, shared) || st.Size() != int64(size) {
		return nil, fmt.Errorf("no shared memory of %d octets", size)
	}
	mem, err := unix.Mmap(n, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("read shared memory: %w", err)
	}
	return mem, nil
}

// Unshare gives memory of Share or Shared back, which nobody may use any more.
func Unshare(mem []byte) {
	if mem != nil {
		unix.Munmap(mem)
	}
}

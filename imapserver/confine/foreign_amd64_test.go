package confine

import (
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// foreign gives a way to make a call as programs of 32 bits do, by other numbers.
func foreign() (func(number uintptr) (result uintptr), error) {
	code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	copy(code, "\xcd\x80\xc3") // int 0x80; ret. Go has number and result where the kernel has them
	start := unsafe.Pointer(&code[0])
	f := &start
	return *(*func(uintptr) uintptr)(unsafe.Pointer(&f)), nil
}

// TestForeignCalls makes a call, confined and not, by a number that the list allows:
// 20 is getpid there, and writev here.
func TestForeignCalls(t *testing.T) {
	if take := os.Getenv("CONFINE_TEST_FOREIGN"); take != "" {
		call, err := foreign()
		if err == nil && take == "calls" {
			err = Calls()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch got := int32(call(20)); got {
		case int32(os.Getpid()):
			os.Exit(10)
		case -int32(unix.EPERM):
			os.Exit(11)
		default:
			t.Fatal(got)
		}
	}
	end := func(take string) int {
		cmd := exec.Command(os.Args[0], "-test.run=^TestForeignCalls$")
		cmd.Env = []string{"CONFINE_TEST_FOREIGN=" + take}
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v %s", take, err, out)
		return cmd.ProcessState.ExitCode()
	}
	if end("nothing") != 10 {
		t.Skip("the kernel takes no such calls")
	}
	if end("calls") != 11 {
		t.Error("a call by its number on another architecture is not refused")
	}
}

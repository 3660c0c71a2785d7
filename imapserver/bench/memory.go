package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is one of a server's.
type process struct {
	pid   int
	ticks int64 // of CPU time, with that of children that have ended
}

// tick is the unit of /proc/PID/stat, on every port of Linux.
const tick = 10 * time.Millisecond

// family gives a process and all that it has started.
func family(root int) []process {
	all, children := map[int]process{}, map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name of the program may hold spaces and brackets.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		p := process{pid: pid}
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(f, 10, 64)
			p.ticks += n
		}
		all[pid] = p
		children[parent] = append(children[parent], pid)
	}
	var list []process
	for next := []int{root}; len(next) > 0; {
		pid := next[0]
		next = append(next[1:], children[pid]...)
		if p, ok := all[pid]; ok {
			list = append(list, p)
		}
	}
	return list
}

// CPU is the time that a process and all that it has started have worked.
func CPU(root int) time.Duration {
	var total time.Duration
	for _, p := range family(root) {
		total += time.Duration(p.ticks) * tick
	}
	return total
}

// Memory is the proportional set size of a process and all that it has started,
// in KiB.
func Memory(root int) (int64, error) {
	var total int64
	for _, p := range family(root) {
		n, err := proportional(p.pid)
		if err != nil && p.pid == root {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// MemoryByRole is Memory by what the processes are for: the verb that the program
// was started with, or its name.
func MemoryByRole(root int) map[string]int64 {
	all := map[string]int64{}
	for _, p := range family(root) {
		if n, err := proportional(p.pid); err == nil {
			all[role(p.pid)] += n
		}
	}
	return all
}

func role(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if args := strings.Split(string(line), "\x00"); len(args) > 1 && strings.HasPrefix(string(name), "mailstead") {
		return args[1]
	}
	return strings.TrimSpace(string(name))
}

// Descriptors is how many a process and all that it has started have open.
func Descriptors(root int) int {
	total := 0
	for _, p := range family(root) {
		list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
		total += len(list)
	}
	return total
}

func proportional(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("process %d: no Pss", pid)
}

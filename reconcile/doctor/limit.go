package doctor

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The inotify limits below which a host is told so before it is at them: a worker
// takes one instance, and a watch for each directory of new messages of who is
// connected.
const (
	fewInstances = 16
	fewWatches   = 1024
)

// nearly says whether of a limit so much is used that somebody should know.
func nearly(used, limit int) bool { return limit > 0 && used*10 >= limit*8 }

// process is one, with what it has of what there are limits for.
type process struct {
	pid                           int
	uid                           uint32
	descriptors, instances, watch int
	most                          int // descriptors
}

// Limits looks at what the processes of a program hold, below proc as the kernel
// has it; only, if there are any, are the processes that are meant. It gives how
// many of them could be looked at.
func Limits(proc, program string, only ...int) (found []Finding, looked int) {
	instances, watches := number(filepath.Join(proc, "sys/fs/inotify/max_user_instances")), number(filepath.Join(proc, "sys/fs/inotify/max_user_watches"))
	if instances > 0 && instances < fewInstances {
		found = append(found, New(LimitInotify, "fs.inotify.max_user_instances", fmt.Sprintf("it is %d: a user's programs have no more together", instances)))
	}
	if watches > 0 && watches < fewWatches {
		found = append(found, New(LimitInotify, "fs.inotify.max_user_watches", fmt.Sprintf("it is %d, and each mailbox of who is connected takes one", watches)))
	}
	all := processes(proc, program, only)
	type usage struct{ instances, watches int }
	by := map[uint32]usage{}
	for _, p := range all {
		if nearly(p.descriptors, p.most) {
			found = append(found, New(LimitDescriptors, fmt.Sprintf("process %d", p.pid), fmt.Sprintf("%s has %d descriptors open, and may have %d", program, p.descriptors, p.most)))
		}
		by[p.uid] = usage{by[p.uid].instances + p.instances, by[p.uid].watches + p.watch}
	}
	for uid, u := range by {
		if nearly(u.instances, instances) || nearly(u.watches, watches) {
			found = append(found, New(LimitInotify, fmt.Sprintf("uid %d", uid), fmt.Sprintf("its mail has %d inotify instances of %d, and %d watches of %d", u.instances, instances, u.watches, watches)))
		}
	}
	slices.SortFunc(found, func(a, b Finding) int { return cmp.Compare(a.Subject, b.Subject) })
	return found, len(all)
}

func number(path string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// processes gives those of a program, as far as one may look.
func processes(proc, program string, only []int) (all []process) {
	dirs, _ := filepath.Glob(filepath.Join(proc, "[0-9]*")) // the pattern is well-formed
	for _, dir := range dirs {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		// The kernel keeps 15 octets of a name.
		if err != nil || strings.TrimSpace(string(name)) != program[:min(len(program), 15)] {
			continue
		}
		st, err := os.Stat(dir)
		if err != nil {
			continue
		}
		p := process{uid: st.Sys().(*syscall.Stat_t).Uid, most: openFiles(filepath.Join(dir, "limits"))}
		p.pid, _ = strconv.Atoi(filepath.Base(dir))
		if (len(only) == 0 || slices.Contains(only, p.pid)) && p.count(dir) {
			all = append(all, p)
		}
	}
	return all
}

func (p *process) count(dir string) bool {
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return false
	}
	p.descriptors = len(fds)
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err != nil || to != "anon_inode:inotify" {
			continue
		}
		p.instances++
		info, _ := os.ReadFile(filepath.Join(dir, "fdinfo", fd.Name()))
		p.watch += strings.Count(string(info), "inotify wd:")
	}
	return true
}

// openFiles reads the soft limit from proc_pid_limits(5); 0: none is known.
func openFiles(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Max open files"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

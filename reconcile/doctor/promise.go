package doctor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mailstead/imapserver/limit"
	"mailstead/reconcile/kind"
)

// Promise is what the table of limits lets in, beside what the units and the host
// have for it.
type Promise struct {
	Limits limit.Login
	Set    bool // the description says how many, and not only the table
	// Users counts them by the uid that has their mail, each of which is a worker.
	Users map[string]int
	// Anybody is the uid of users whom only directories know, however many they are; ""
	// without directories.
	Anybody string
	Logins  []Holding
	Spawn   Holding
	RAM     int64 // octets, 0: not known
	Origin  string
}

// Holding is a unit with what it may have; 0: not known, or as much as there is.
type Holding struct {
	Unit                string
	Proxy               bool // its sessions are users of other servers
	Descriptors, Memory int64
}

// Hold gives what a unit may have, by its file and by what its process was given:
// a limit above that of the system's manager is cut without a word.
func Hold(unit string, u kind.Health, proc string) Holding {
	h := Holding{Unit: unit, Descriptors: u.Descriptors, Memory: u.Memory}
	if u.PID > 0 {
		if n := int64(openFiles(filepath.Join(proc, fmt.Sprint(u.PID), "limits"))); n > 0 && (n < h.Descriptors || h.Descriptors == 0) {
			h.Descriptors = n
		}
	}
	return h
}

// Wanted gives what a unit may have that is yet to be made, by its text, on a host with
// so much memory.
func Wanted(unit, text string, ram int64) Holding {
	h := Holding{Unit: unit}
	for _, s := range parseSettings(text) {
		n, err := strconv.ParseInt(strings.TrimSuffix(s.value, "%"), 10, 64)
		switch {
		case err != nil:
		case s.name == "LimitNOFILE":
			h.Descriptors = n
		case s.name == "MemoryMax" && strings.HasSuffix(s.value, "%"):
			h.Memory = ram / 100 * n
		}
	}
	return h
}

// sessions is how many there may be in all: those that the users of the host can have,
// unless anybody may come.
func (p Promise) sessions() (n int64, why string) {
	users := 0
	for _, k := range p.Users {
		users += k
	}
	n, why = p.most()
	if own := int64(users) * int64(p.Limits.PerUser); p.Anybody == "" && own < n {
		return own, fmt.Sprintf("users: %d, sessionsPerUser: %d", users, p.Limits.PerUser)
	}
	return n, why
}

// most is how many there may be, whoever's they are.
func (p Promise) most() (n int64, why string) {
	return int64(p.Limits.Sessions), fmt.Sprintf("sessions: %d", p.Limits.Sessions)
}

// worker is what one has that is given so many sessions, and of as few users as may
// have them.
func (p Promise) worker(sessions int64) (descriptors, memory int64) {
	each := int64(max(p.Limits.PerUser, 1))
	accounts := (sessions + each - 1) / each
	return sessions*limit.WorkerDescriptors + accounts*limit.AccountDescriptors + limit.ProcessDescriptors,
		sessions*limit.WorkerMemory + accounts*limit.AccountMemory + limit.WorkerProcess
}

// workers is what they have when all sessions are there, in as few processes as may
// have them: the descriptors of the largest, and the memory of all.
func (p Promise) workers(sessions int64) (descriptors, memory int64) {
	var room []int64
	for uid, users := range p.Users {
		if n := int64(users) * int64(p.Limits.PerUser); uid != p.Anybody {
			room = append(room, n)
		}
	}
	if p.Anybody != "" {
		room = append(room, sessions)
	}
	slices.SortFunc(room, func(a, b int64) int { return cmp.Compare(b, a) })
	for _, n := range room {
		d, m := p.worker(min(n, sessions))
		descriptors, memory = max(descriptors, d), memory+m
		if sessions -= min(n, sessions); sessions == 0 {
			break
		}
	}
	return descriptors, memory
}

// Judge says where that is more than there is, with the sums.
func (p Promise) Judge() (found []Finding) {
	n, why := p.sessions()
	waiting := int64(p.Limits.Full + p.Limits.Reserve)
	tell := func(subject, what string, need, have int64, in func(int64) string) {
		if have <= 0 || need <= have {
			return
		}
		f := New(LimitPromise, subject, fmt.Sprintf("the limits promise %d sessions (%s): %s are %s, and it has %s, enough for about %d", n, why, what, in(need), in(have), n*have/need)).At(p.Origin)
		if !p.Set {
			f = f.As(Note)
		}
		found = append(found, f)
	}
	login := func(sessions int64) (descriptors, memory int64) {
		return sessions*limit.LoginDescriptors + waiting*limit.WaitingDescriptors + limit.ProcessDescriptors, sessions*limit.LoginMemory + waiting*limit.WaitingMemory
	}
	descriptors, memory := p.workers(n)
	tell(p.Spawn.Unit, fmt.Sprintf("a descriptor for each, and %d for each user, in the worker that has most of them", limit.AccountDescriptors), descriptors, p.Spawn.Descriptors, count)
	each := fmt.Sprintf("%s for each, %s for each user and %s for each worker", size(limit.WorkerMemory), size(limit.AccountMemory), size(limit.WorkerProcess))
	tell(p.Spawn.Unit, each, memory, p.Spawn.Memory, size)
	_, front := login(n)
	tell("memory", fmt.Sprintf("%s for each, and for each of %d that are not logged in, in the processes of listeners, and in workers %s,", size(limit.LoginMemory), waiting, each), front+memory, p.RAM, size)
	for _, l := range p.Logins {
		if n, why = p.sessions(); l.Proxy {
			n, why = p.most()
		}
		descriptors, memory := login(n)
		tell(l.Unit, fmt.Sprintf("%d descriptors for each, and one for each of %d connections that are not logged in,", limit.LoginDescriptors, waiting), descriptors, l.Descriptors, count)
		tell(l.Unit, fmt.Sprintf("%s for each, and for each of %d connections that are not logged in,", size(limit.LoginMemory), waiting), memory, l.Memory, size)
	}
	return found
}

func count(n int64) string { return fmt.Sprint(n) }

// size is octets for people.
func size(n int64) string {
	for _, unit := range []struct {
		name  string
		shift int
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n >= 1<<unit.shift {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(int64(1)<<unit.shift)), ".0") + " " + unit.name
		}
	}
	return fmt.Sprint(n)
}

// RAM gives the memory of the host in octets (proc_meminfo(5)), 0 if it is not known.
func RAM(proc string) int64 {
	data, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err != nil {
		return 0
	}
	var kilobytes int64
	fmt.Sscanf(string(data), "MemTotal: %d kB", &kilobytes)
	return kilobytes << 10
}

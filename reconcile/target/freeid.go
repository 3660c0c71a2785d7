package target

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// The ids that Debian gives to system accounts (Debian Policy §9.2.2), from the
// end at which systemd-sysusers starts.
const (
	firstSystemID = 999
	lastSystemID  = 100
)

// readFreeIDs finds free ids for n accounts of the host.
func readFreeIDs(n int) ([]int, error) {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return nil, err
	}
	return freeIDs(string(passwd), string(group), n), nil
}

// freeIDs finds the n highest system ids that are neither a uid nor a gid in
// the texts of /etc/passwd and /etc/group. It gives fewer if there are fewer.
func freeIDs(passwd, group string, n int) []int {
	var taken []int
	for line := range strings.Lines(passwd) {
		taken = appendIDs(taken, line, 2, 3)
	}
	for line := range strings.Lines(group) {
		taken = appendIDs(taken, line, 2)
	}
	var free []int
	for id := firstSystemID; id >= lastSystemID && len(free) < n; id-- {
		if !slices.Contains(taken, id) {
			free = append(free, id)
		}
	}
	return free
}

// appendIDs appends the numbers in some of the colon-separated fields of a line.
func appendIDs(ids []int, line string, fields ...int) []int {
	all := strings.Split(strings.TrimSpace(line), ":")
	for _, f := range fields {
		if f < len(all) {
			if id, err := strconv.Atoi(all[f]); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

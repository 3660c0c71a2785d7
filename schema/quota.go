package schema

import (
	"regexp"
	"strconv"
)

// quota completes a quota, laid over another one. Without either there is none.
func quota(s spot, base *Quota) *Quota {
	if !s.exists() || !s.ok() {
		return base
	}
	q := &Quota{}
	if base != nil {
		*q = *base
	}
	if storage, ok := s.at("storage").str(); ok {
		n, ok := octets(storage)
		if !ok {
			s.at("storage").faultOfValue(CodeValue, "is no amount of storage: "+quote(storage), `write a number and a unit, such as "500MB", "5GB" or "2.5GiB", or "none"`)
		}
		q.Storage = n
	}
	if n, ok := s.at("messages").number(); ok {
		q.Messages = int64(n)
	}
	if change, ok := s.at("change").boolean(); ok {
		q.Change = change
	}
	return q
}

var amount = regexp.MustCompile(`^([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(kB|MB|GB|TB|KiB|MiB|GiB|TiB)$`)

var units = map[string]float64{
	"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// octets reads an amount of storage; "none" is 0.
func octets(s string) (int64, bool) {
	if s == "none" {
		return 0, true
	}
	m := amount.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	n *= units[m[2]]
	return int64(n), err == nil && n >= 1 && n < 1<<59
}

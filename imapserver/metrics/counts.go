package metrics

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Series is a metric with the values of its labels, and its number. Of a histogram,
// Sum is in its unit and Buckets has the observations of each bucket alone, with one
// more at the end for what is above them all.
type Series struct {
	Name    string   `json:"n"`
	Labels  []string `json:"l,omitempty"`
	Sum     float64  `json:"s"`
	Count   uint64   `json:"c,omitempty"`
	Buckets []uint64 `json:"b,omitempty"`

	bounds []float64 // of the buckets
}

// Counts is what has been counted. The zero value is ready for use, and a nil one
// counts nothing; its methods may be called from many goroutines.
type Counts struct {
	// Changed, if it is not nil, is called with the first that is counted after a
	// Take. It must not call the Counts.
	Changed func()

	mu  sync.Mutex
	all map[string]*Series
	of  map[string]int // series of each metric
}

// Add adds n to a counter. A name that is not in the table is a fault of ours.
func (c *Counts) Add(name string, n float64, labels ...string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.series(name, labels); s != nil {
		s.Sum += n
	}
}

// Observe adds a duration to a histogram of seconds.
func (c *Counts) Observe(name string, d time.Duration, labels ...string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.series(name, labels)
	if s == nil {
		return
	}
	if len(s.Buckets) == 0 {
		row, _ := Find(name)
		s.bounds, s.Buckets = row.Buckets, make([]uint64, len(row.Buckets)+1)
	}
	i, _ := slices.BinarySearch(s.bounds, d.Seconds())
	s.Buckets[i]++
	s.Count++
	s.Sum += d.Seconds()
}

// Take gives what has been counted since the last call; nil if that is nothing.
func (c *Counts) Take() []Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.list()
	c.all, c.of = nil, nil
	return all
}

// Merge adds what another process has counted. What the table does not have, or
// not in that form, is left out.
func (c *Counts) Merge(all []Series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range all {
		row, ok := Find(a.Name)
		if !ok || row.Type == Gauge || !(a.Sum >= 0) || len(a.Buckets) > 0 && len(a.Buckets) != len(row.Buckets)+1 {
			continue
		}
		s := c.series(a.Name, a.Labels)
		if s == nil || math.IsInf(s.Sum+a.Sum, 0) { // JSON has none
			continue
		}
		s.Sum += a.Sum
		s.Count += a.Count
		if len(s.Buckets) < len(a.Buckets) {
			s.bounds, s.Buckets = row.Buckets, make([]uint64, len(a.Buckets))
		}
		for i, n := range a.Buckets {
			s.Buckets[i] += n
		}
	}
}

// List gives all that there is, in order of names and labels.
func (c *Counts) List() []Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list()
}

func (c *Counts) list() []Series {
	var all []Series
	for _, s := range c.all {
		one := *s
		one.Buckets = slices.Clone(s.Buckets)
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Series) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.Labels, b.Labels))
	})
	return all
}

// series finds one, or makes it; nil if there is no such metric. c.mu is held.
func (c *Counts) series(name string, labels []string) *Series {
	// This is in the way of every command, and so makes nothing.
	var room [128]byte
	key := append(room[:0], name...)
	for _, l := range labels {
		key = append(append(key, 0), l...)
	}
	if s := c.all[string(key)]; s != nil {
		return s
	}
	return c.newSeries(name, labels)
}

func (c *Counts) newSeries(name string, labels []string) *Series {
	row, ok := Find(name)
	if !ok || len(labels) != len(row.Labels) {
		return nil
	}
	values := make([]string, len(labels))
	for i, l := range row.Labels {
		values[i] = l.value(labels[i])
	}
	if c.of[name] >= maxSeries {
		for i := range values {
			values[i] = Other
		}
	}
	key := name + "\x00" + strings.Join(values, "\x00")
	if s := c.all[key]; s != nil {
		return s
	}
	if c.all == nil {
		c.all, c.of = map[string]*Series{}, map[string]int{}
		if c.Changed != nil {
			c.Changed()
		}
	}
	s := &Series{Name: name, Labels: values}
	c.all[key] = s
	c.of[name]++
	return s
}

// maxValue bounds the value of a label.
const maxValue = 64

// value is v if the label may have it.
func (l Label) value(v string) string {
	if len(l.Values) > 0 && !slices.Contains(l.Values, v) || len(v) > maxValue || strings.ContainsFunc(v, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return Other
	}
	return v
}

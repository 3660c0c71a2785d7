// Package doctor finds out what keeps people from their mail on a host, and says
// what each thing means and what to do about it. table.go has every kind of
// finding; each of the other files has the checks of one thing, which look (and
// change nothing) or judge what somebody else has seen.
//
// cmd calls it, and brings what a plan, the daemon and clients of its listeners
// say. It must not import schema or render: what it is told is in its arguments.
package doctor

import (
	"cmp"
	"slices"
)

// Severity is how much a finding matters.
type Severity string

// The severities, from the gravest.
const (
	Error   Severity = "error"   // people are kept from their mail, or others are not
	Warning Severity = "warning" // that is about to come, or would not be noticed
	Note    Severity = "note"    // nothing has to be done
)

func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Note}, s) }

// Finding is one thing that is not as it should be.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // what it is about: "listener imap", a path, a unit
	Seen     string   `json:"seen"`    // what was found, in one line
	Meaning  string   `json:"meaning"` // for the people who want their mail
	Remedy   string   `json:"remedy"`  // what to do
	Origin   string   `json:"origin,omitempty"`
	// Mends are the resources whose change in a plan mends it.
	Mends []string `json:"mends,omitempty"`
}

// New makes a finding, with what the table says of its code.
func New(code Code, subject, seen string) Finding {
	row := rowOf(code)
	return Finding{Code: code, Severity: row.Severity, Subject: subject, Seen: seen, Meaning: row.Meaning, Remedy: row.Remedy}
}

// At says which place of the description is behind a finding.
func (f Finding) At(origin string) Finding {
	f.Origin = origin
	return f
}

// Do replaces what to do by what is known more exactly.
func (f Finding) Do(remedy string) Finding {
	f.Remedy = remedy
	return f
}

// As replaces the severity where the case is milder or graver than usual.
func (f Finding) As(s Severity) Finding {
	f.Severity = s
	return f
}

// Looked counts what was looked at, so that "nothing found" can be told from
// "nothing looked at".
type Looked struct {
	What    string `json:"what"` // "listeners", "Maildirs"
	Count   int    `json:"count"`
	Skipped string `json:"skipped,omitempty"` // why nothing, or not all, was looked at
}

// Report is what a host looks like from one side.
type Report struct {
	Host     string    `json:"host"`
	Side     string    `json:"side"`     // "inside" or "outside"
	Findings []Finding `json:"findings"` // the gravest first
	Looked   []Looked  `json:"looked"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Notes    int       `json:"notes"`
}

// Add adds findings.
func (r *Report) Add(all ...Finding) { r.Findings = append(r.Findings, all...) }

// Look notes that something was looked at.
func (r *Report) Look(what string, count int) {
	r.Looked = append(r.Looked, Looked{What: what, Count: count})
}

// Skip notes that something was not looked at, and why.
func (r *Report) Skip(what, why string) {
	r.Looked = append(r.Looked, Looked{What: what, Skipped: why})
}

// Close sorts the findings and counts them. Findings of the same severity stay in
// the order in which they were added.
func (r *Report) Close() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		default:
			r.Notes++
		}
	}
}

// Mends gives the resources that a plan would have to change to mend what can be
// mended, each once.
func (r *Report) Mends() []string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, f.Mends...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

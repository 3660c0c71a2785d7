// Package metrics is the table of what the daemon counts, the counting in each of
// its processes, and the sums of all of them. A process that has mail, or talks to
// strangers, hands over what it has counted since it did so last (Counts.Take);
// auth adds that up (Counts.Merge), as far as the table has it, so that whoever has
// taken a process over can falsify numbers, and make maxSeries of a metric at most.
// The package
// imports nothing of the project and knows nothing of how metrics are served.
package metrics

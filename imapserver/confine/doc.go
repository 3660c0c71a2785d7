// Package confine is what a process takes from itself for good before it reads what
// a stranger wrote: the files that it has no business with (Landlock), the system
// calls (seccomp), cores and descriptors without end. What it leaves is stated by
// tables. Workers and logins do so, beside the sandbox of their units.
//
// The root package calls it; it imports nothing of the project.
package confine

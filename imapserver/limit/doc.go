// Package limit owns the one table of what a client may cost, and what guessing
// passwords may: the names, their meaning, what holds where nothing is said, and
// between which bounds an operator may say something else. wire, login and auth
// take their values from it; schema/limits.cue and docs/limits.md are made of it.
//
// It does no I/O and imports nothing of the project.
package limit

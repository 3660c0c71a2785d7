// Package maildir is the Maildir++ tree on disk: the names of its directories
// and message files, Courier's files beside them, directory reads that miss
// nothing, and file calls whose result survives a power cut.
//
// The store builds mailboxes on it, the reconciler makes and repairs trees
// with it. It knows nothing of UIDs beyond what Courier's files hold, and it
// imports no other package of the project.
package maildir

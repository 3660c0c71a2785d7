// Package schema owns the language of descriptions: what an operator can say
// of a mail host, what each field means and what is its default (the *.cue
// files, embedded), and Load, which turns an operator's CUE, JSON and YAML
// files into a checked Config or into a list of faults.
//
// Load goes through four steps.
//
//  1. The files are read from below the CUE module, or below the directory that
//     was named, and evaluated by themselves: nothing is fetched, no link leads
//     out, CUE's switches in the environment do not count (source.go, instance.go).
//  2. The value is compared with the strict schema node by node (strict.go). The
//     schema closes the description from outside, whatever the files themselves
//     embed; it has no defaults yet, so that each fault gives one message; and
//     no fault hides another.
//  3. Every part without a fault is completed with the defaults of
//     defaults.cue (complete.go, user.go, folder.go).
//  4. What no single value shows is checked in Go: names of things that do not
//     exist, two that want the same port or Maildir, what is a danger on a host
//     (listener.go, certificate.go, user.go, folder.go, hash.go).
//
// Every part of a Config carries its Origin, the line of the description that
// asked for it. Secrets are shown neither by Config nor by a Diagnostic.
//
// The callers are the commands of mailstead, render and reconcile/desired.
// The package imports nothing of the project, and the daemon does not import it.
package schema

package kind

import (
	"context"
	"os"
	"slices"
	"strings"

	"mailstead/reconcile"
)

// ownMark is in the first lines of every file that is ours by what it says.
const ownMark = "# Kept by mailstead: "

// signed adds to an Observe of files which of those that are there do not say
// that they are ours. Whoever wrote such a file may have meant it for few.
func signed(observe func(context.Context, []reconcile.Ask) []reconcile.Seen) func(context.Context, []reconcile.Ask) []reconcile.Seen {
	return func(ctx context.Context, asks []reconcile.Ask) []reconcile.Seen {
		seen := observe(ctx, asks)
		for i, a := range asks {
			if have := seen[i].Have; have != nil && !hasMark(have.Get("content")) {
				seen[i].Foreign = &reconcile.Foreign{Reason: notOurs(filePath(a.Resource))}
				hideUnlessPublic(have)
			}
		}
		return seen
	}
}

func hasMark(content string) bool {
	const head = 200
	return strings.Contains(content[:min(head, len(content))], ownMark)
}

// filePath is where the file of a resource is.
func filePath(r reconcile.Resource) string {
	if p := r.Get("path"); p != "" {
		return p
	}
	return r.Ref.Name
}

func notOurs(path string) string { return path + " is there, and Mailstead did not write it" }

// hideUnlessPublic makes the content of a file secret that not everyone on the
// host may read.
func hideUnlessPublic(have *reconcile.Resource) {
	if mode := have.Get("mode"); mode == "" || strings.ContainsRune("4567", rune(mode[len(mode)-1])) {
		return
	}
	for i := range have.Attrs {
		if have.Attrs[i].Name == "content" {
			have.Attrs[i].Secret = true
		}
	}
}

// withCopies adds to an Observe of certificates where somebody else's file is in
// the way of a copy for other programs. It is ours if an apply has written it, or
// if it is the copy already.
func withCopies(observe func(context.Context, []reconcile.Ask) []reconcile.Seen) func(context.Context, []reconcile.Ask) []reconcile.Seen {
	return func(ctx context.Context, asks []reconcile.Ask) []reconcile.Seen {
		seen := observe(ctx, asks)
		for i, a := range asks {
			stitched := a.Get("stitched")
			was := a.Was
			if a.Kin != nil {
				was = a.Kin.Was // another certificate may have had the copy
			}
			ours := slices.ContainsFunc(was, func(w reconcile.Resource) bool { return w.Get("stitched") == stitched })
			if stitched == "" || ours || seen[i].Have.Get("stitched state") == stateGood {
				continue
			}
			if _, err := os.Lstat(stitched); err == nil {
				seen[i].Foreign = &reconcile.Foreign{Reason: notOurs(stitched), Attrs: []string{"stitched", "stitched state"}}
			}
		}
		return seen
	}
}

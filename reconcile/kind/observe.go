package kind

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"mailstead/reconcile"
)

// each makes a row's Observe of a function that looks at one resource. That
// function gives nil where there is nothing.
func each(one func(context.Context, reconcile.Ask) (*reconcile.Resource, error)) func(context.Context, []reconcile.Ask) []reconcile.Seen {
	return func(ctx context.Context, asks []reconcile.Ask) []reconcile.Seen {
		out := make([]reconcile.Seen, len(asks))
		for i, a := range asks {
			have, err := one(ctx, a)
			if err != nil {
				out[i].Err = explain(err)
				continue
			}
			out[i].Have = have
		}
		return out
	}
}

// explain adds to an error what to do about it.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%w (needs root)", err)
	}
	return err
}

// found is a resource as asked for, with the values that were found instead of
// those asked for. Values of attributes that were not asked for are added.
func found(ask reconcile.Resource, values ...value) *reconcile.Resource {
	have := &reconcile.Resource{Ref: ask.Ref, Origin: ask.Origin, Attrs: make([]reconcile.Attr, len(ask.Attrs))}
	copy(have.Attrs, ask.Attrs)
	for _, v := range values {
		v.put(have)
	}
	return have
}

// value is what was found of an attribute.
type value struct {
	name, value string
	impact      reconcile.Impact // of an attribute that was not asked for
}

func (v value) put(r *reconcile.Resource) {
	for i := range r.Attrs {
		if r.Attrs[i].Name == v.name {
			r.Attrs[i].Value = v.value
			return
		}
	}
	r.Attrs = append(r.Attrs, reconcile.Attr{Name: v.name, Value: v.value, Impact: v.impact})
}

// checkPath refuses a path that no description should have got this far.
func checkPath(path string) error {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/":
		return fmt.Errorf("path %q: want an absolute path without \".\" or \"..\"", path)
	case strings.ContainsFunc(path, unicode.IsControl):
		return fmt.Errorf("path %q: it has a control character", path)
	}
	return nil
}

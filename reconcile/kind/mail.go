package kind

import (
	"context"
	"errors"
	"fmt"

	"mailstead/reconcile"
)

// observeMail is Observe of everything below a user's directory. Whatever
// belongs to one uid is asked for at once.
func (h *Host) observeMail(ctx context.Context, asks []reconcile.Ask) []reconcile.Seen {
	out := make([]reconcile.Seen, len(asks))
	batches := make(map[identity][]int)
	var order []identity
	for i, a := range asks {
		id, err := parseIdentity(a.Get("owner"))
		if err != nil {
			out[i].Err = err
			continue
		}
		if batches[id] == nil {
			order = append(order, id)
		}
		batches[id] = append(batches[id], i)
	}
	for _, id := range order {
		h.observeBatch(ctx, id, asks, batches[id], out)
	}
	return out
}

func (h *Host) observeBatch(ctx context.Context, id identity, asks []reconcile.Ask, batch []int, out []reconcile.Seen) {
	q := mailRequest{Asks: make([]reconcile.Ask, len(batch))}
	for i, n := range batch {
		q.Asks[i] = asks[n]
	}
	a, err := h.mail(ctx, id, q)
	if err == nil && len(a.Seen) != len(batch) {
		err = fmt.Errorf("helper as uid %d: %d answers to %d questions", id.uid, len(a.Seen), len(batch))
	}
	for i, n := range batch {
		switch {
		case err != nil:
			out[n].Err = err
		case a.Seen[i].Error != "":
			out[n].Err = errors.New(a.Seen[i].Error)
		case a.Seen[i].Have != nil:
			// Only values are taken from whoever answered.
			have := found(asks[n].Resource)
			for j := range have.Attrs {
				have.Attrs[j].Value = a.Seen[i].Have.Get(have.Attrs[j].Name)
			}
			out[n].Have = have
		}
	}
}

func (h *Host) applyMail(ctx context.Context, c reconcile.Change) error {
	id, err := parseIdentity(c.Want.Get("owner"))
	if err != nil {
		return err
	}
	a, err := h.mail(ctx, id, mailRequest{Change: &c})
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return err
}

// observeMailbox looks at one resource with the rights of the process.
func observeMailbox(ask reconcile.Ask) (*reconcile.Resource, error) {
	switch ask.Ref.Kind {
	case "maildir":
		return observeMaildir(ask)
	case "folder":
		return observeFolder(ask)
	}
	return nil, fmt.Errorf("%s: not mail", ask.Ref)
}

// applyMailbox makes one change with the rights of the process.
func applyMailbox(c reconcile.Change) error {
	if c.Want == nil {
		return fmt.Errorf("%s: mail is never removed", c.Ref)
	}
	switch c.Ref.Kind {
	case "maildir":
		return applyMaildir(c)
	case "folder":
		return applyFolder(c)
	}
	return fmt.Errorf("%s: not mail", c.Ref)
}

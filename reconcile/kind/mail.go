package kind

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
		for part := range slices.Chunk(batches[id], batchSize) {
			h.observeBatch(ctx, id, asks, part, out)
		}
	}
	return out
}

// batchSize is how much is asked at once, so that a request ends in reasonable time.
const batchSize = 500

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

// settleMail syncs what was changed, all of it together: a new host has thousands
// of directories made. What could not be synced counts as failed; the inventory
// keeps it as pending, and the next apply looks at it.
func (h *Host) settleMail(ctx context.Context, changes []reconcile.Change) []error {
	errs := make([]error, len(changes))
	synced := make(map[identity]bool)
	for i, c := range changes {
		var id identity
		if id, errs[i] = parseIdentity(c.Want.Get("owner")); errs[i] != nil {
			continue
		}
		if !synced[id] && (inProcess(id) || h.helper != nil && h.helper.id == id) {
			synced[id] = true
			if err := h.sync(ctx, id); err != nil {
				h.lose(id, err)
			}
		}
		errs[i] = h.unsynced[id]
	}
	h.unsynced = nil
	return errs
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

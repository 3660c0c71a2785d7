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
	q := mailRequest{Asks: make([]mailThing, len(batch))}
	for i, n := range batch {
		q.Asks[i] = newMailThing(&asks[n].Resource)
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
		case a.Seen[i].There:
			out[n].Have = a.Seen[i].found(asks[n].Resource)
		}
	}
}

// found is what there is, as a resource. Only values of what was asked for are
// taken from whoever answered.
func (s mailSeen) found(ask reconcile.Resource) *reconcile.Resource {
	have := found(ask)
	for _, v := range s.Values {
		for j := range have.Attrs {
			if have.Attrs[j].Name == v[0] {
				have.Attrs[j].Value = v[1]
			}
		}
	}
	return have
}

func (h *Host) applyMail(ctx context.Context, c reconcile.Change) error {
	return h.applyMails(ctx, []reconcile.Change{c})[0]
}

// applyMails makes mail as it is wanted; what belongs to one uid and stands
// together, at once.
func (h *Host) applyMails(ctx context.Context, changes []reconcile.Change) []error {
	errs := make([]error, len(changes))
	for first := 0; first < len(changes); {
		if changes[first].Want == nil {
			errs[first] = fmt.Errorf("%s: mail is never removed", changes[first].Ref)
			first++
			continue
		}
		owner := changes[first].Want.Get("owner")
		last := first + 1
		for last < len(changes) && changes[last].Want != nil && changes[last].Want.Get("owner") == owner {
			last++
		}
		h.makeMail(ctx, owner, changes[first:last], errs[first:last])
		first = last
	}
	return errs
}

// makeMail makes mail of one owner, and puts what was wrong into errs.
func (h *Host) makeMail(ctx context.Context, owner string, changes []reconcile.Change, errs []error) {
	q := mailRequest{Make: make([]mailThing, len(changes))}
	for i, c := range changes {
		q.Make[i] = newMailThing(c.Want)
	}
	var a mailAnswer
	id, err := parseIdentity(owner)
	if err == nil {
		a, err = h.mail(ctx, id, q)
	}
	if err == nil && len(a.Made) != len(changes) {
		err = fmt.Errorf("helper as uid %d: %d answers to %d changes", id.uid, len(a.Made), len(changes))
	}
	for i := range errs {
		if errs[i] = err; err == nil && a.Made[i] != "" {
			errs[i] = errors.New(a.Made[i])
		}
	}
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

// observeMailboxes looks at mail of one account with the rights of the process.
func observeMailboxes(asks []mailThing) []mailSeen {
	switch asks[0].Kind {
	case "maildir":
		return []mailSeen{observeMaildir(asks[0])}
	case "folder":
		return observeFolders(asks)
	}
	return []mailSeen{{err: asks[0].foreign()}}
}

// makeMailboxes makes mail of one account with the rights of the process.
func makeMailboxes(wants []mailThing) []error {
	switch wants[0].Kind {
	case "maildir":
		return []error{makeMaildir(wants[0])}
	case "folder":
		return makeFolders(wants)
	}
	return []error{wants[0].foreign()}
}

func (t mailThing) foreign() error { return fmt.Errorf("%s/%s: not mail", t.Kind, t.Name) }

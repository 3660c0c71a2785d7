package transfer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// foresee says what a run would bring of a mailbox, by what the run would look at. It changes
// nothing, here or in the journal.
func (t *Transfer) foresee(ctx context.Context, w *work, r *Report) (err error) {
	defer func() { r.Brought = len(w.pending) }() // at most, where it cannot be told
	if len(w.pending) == 0 {
		return nil
	}
	p, err := t.Journal.read(w.box.Name)
	if err != nil {
		return err
	}
	validity, _, err := t.Target.status(w.target)
	var no *imap.Error
	switch {
	case err == nil:
		p, _ = t.current(p, w, validity)
		p.w = bufio.NewWriter(io.Discard)
		err = t.recovered(ctx, w, p, r)
	case errors.As(err, &no):
		err = nil // it is not there, and the run makes it
	}
	if err != nil {
		return err
	}
	return t.hollow(ctx, w, r)
}

// hollow refuses what is empty, as the run does. It is read, since a source may say so of all.
func (t *Transfer) hollow(ctx context.Context, w *work, r *Report) error {
	over := map[string]bool{}
	var ask []Entry
	for _, e := range w.pending {
		if e.Size == 0 {
			ask = append(ask, e)
		}
	}
	for chunk := range slices.Chunk(ask, chunkMessages) {
		err := t.persist(ctx, w.slot, func(s Source) error {
			return s.Fetch(ctx, w.box, chunk, func(e Entry, in io.Reader) error {
				body, err := readBody(in)
				if err != nil {
					return err
				}
				defer body.close()
				if body.size == 0 && !over[e.ID] {
					over[e.ID] = true
					r.Left = append(r.Left, Refused{e.ID, errEmpty.Error()})
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	w.pending = slices.DeleteFunc(w.pending, func(e Entry) bool { return over[e.ID] })
	return nil
}

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Difference is what is not the same on both sides.
type Difference struct {
	Mailbox string `json:"mailbox"`
	ID      string `json:"id"` // at the source
	What    string `json:"what"`
}

// Verify compares both sides message by message: octets, date and flags of each
// that was brought, whether each was, and whether it was brought twice. compared is how many it has compared. Who
// has changed, moved or removed mail here since finds it among the differences.
func (t *Transfer) Verify(ctx context.Context) (compared int, differences []Difference, err error) {
	defer func() { err = ended(ctx, err) }()
	t.verifying, t.slots = true, make([]Source, 1)
	defer t.closeSources()
	works, reports, err := t.survey(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, r := range reports {
		if r.Error != "" {
			differences = append(differences, Difference{r.Mailbox, "", r.Error})
		}
	}
	for _, w := range works {
		some, err := t.verify(ctx, w, &reports[w.report])
		differences = append(differences, some...)
		if err != nil {
			return compared, differences, fmt.Errorf("%s: %w", w.box.Name, err)
		}
		compared += len(w.here)
		w.here, w.pending = nil, nil
	}
	return compared, differences, nil
}

func (t *Transfer) verify(ctx context.Context, w *work, r *Report) (found []Difference, err error) {
	if err := t.look(ctx, w, r); ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		t.looked(w, nil)
		return []Difference{{w.box.Name, "", err.Error()}}, nil
	}
	t.looked(w, w.here)
	t.Progress.Mailbox(w.box.Name, w.target)
	p, err := t.Journal.read(w.box.Name)
	if err != nil {
		return nil, err
	}
	differ := func(e Entry, format string, args ...any) {
		found = append(found, Difference{w.box.Name, e.ID, fmt.Sprintf(format, args...)})
	}
	for _, e := range w.pending {
		differ(e, "has not been brought")
	}
	there, err := t.stands(p)
	if err != nil {
		return found, err
	}
	for chunk := range slices.Chunk(w.here, chunkMessages) {
		theirs := map[string]digest{}
		err := t.persist(ctx, 0, func(s Source) error {
			return s.Fetch(ctx, w.box, chunk, func(e Entry, r io.Reader) error {
				b, err := readBody(r)
				if err != nil {
					return err
				}
				defer b.close()
				theirs[e.ID] = b.digest()
				t.Progress.Brought(1, b.size)
				return nil
			})
		})
		if err != nil {
			return found, err
		}
		var uids imap.UIDSet
		for _, e := range chunk {
			uids.AddNum(p.done[e.ID].uid)
		}
		here := map[imap.UID]ours{}
		if there {
			err = t.Target.messages(p.Target, uids, true, func(m ours) { here[m.uid] = m })
		}
		if err != nil {
			return found, err
		}
		for _, e := range chunk {
			compare(e, theirs, here[p.done[e.ID].uid], differ)
		}
	}
	if !there {
		return found, nil
	}
	more, err := t.twice(w, p)
	return append(found, more...), err
}

// stands says whether the mailbox that the notes have UIDs of is here.
func (t *Transfer) stands(p *page) (bool, error) {
	if p == nil {
		return false, nil
	}
	validity, _, err := t.Target.status(p.Target)
	var no *imap.Error
	if errors.As(err, &no) && no.Code == imap.ResponseCodeNonExistent {
		return false, nil
	}
	return err == nil && validity == p.UIDs, err
}

// twice finds messages that the notes say have been brought as two, if both are here. A
// copy that no note knows is none of the import's.
func (t *Transfer) twice(w *work, p *page) (found []Difference, err error) {
	if len(p.twice) == 0 {
		return nil, nil
	}
	var uids imap.UIDSet
	for id, before := range p.twice {
		uids.AddNum(p.done[id].uid)
		uids.AddNum(before...)
	}
	here := map[imap.UID]bool{}
	if err := t.Target.messages(p.Target, uids, false, func(m ours) { here[m.uid] = true }); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(p.twice)) {
		now := p.done[id].uid
		for _, uid := range p.twice[id] {
			if here[uid] && here[now] && uid != now {
				found = append(found, Difference{w.box.Name, id, fmt.Sprintf("is here twice, in %s as the UIDs %d and %d", p.Target, uid, now)})
			}
		}
	}
	return found, nil
}

func compare(e Entry, theirs map[string]digest, m ours, differ func(Entry, string, ...any)) {
	switch sum, ok := theirs[e.ID]; {
	case !ok:
		return // gone at the source meanwhile
	case m.uid == 0:
		differ(e, "is not here any more")
	case sum != m.digest:
		differ(e, "has other octets here")
	case e.Date != NoDate && e.Date != m.date:
		differ(e, "has the date %s here and %s there", time.Unix(m.date, 0).UTC().Format(time.RFC3339), time.Unix(e.Date, 0).UTC().Format(time.RFC3339))
	case e.Flags != m.flags:
		differ(e, "has the flags (%s) here and (%s) there", m.flags, e.Flags)
	}
}

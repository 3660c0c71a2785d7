package transfer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Difference is what is not the same on both sides.
type Difference struct {
	Mailbox string `json:"mailbox"`
	ID      string `json:"id"` // at the source
	What    string `json:"what"`
}

// Verify compares both sides message by message: octets, date and flags of each
// that was brought, and whether each was. compared is how many it has compared. Who
// has changed, moved or removed mail here since finds it among the differences.
func (t *Transfer) Verify(ctx context.Context) (compared int, differences []Difference, err error) {
	t.connections, t.verifying = 1, true
	t.slots = make([]Source, 1)
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
	messages, octets := 0, int64(0)
	for _, w := range works {
		messages += len(w.here)
		for _, e := range w.here {
			octets += max(e.Size, 0)
		}
	}
	t.Progress.Total(messages, octets)
	for _, w := range works {
		t.Progress.Mailbox(w.box.Name, w.target)
		some, err := t.verify(ctx, w)
		differences = append(differences, some...)
		if err != nil {
			return compared, differences, fmt.Errorf("%s: %w", w.box.Name, err)
		}
		compared += len(w.here)
	}
	return compared, differences, nil
}

func (t *Transfer) verify(ctx context.Context, w *work) (found []Difference, err error) {
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
		ours, err := t.copies(p, chunk)
		if err != nil {
			return found, err
		}
		for _, e := range chunk {
			compare(e, theirs, ours[p.done[e.ID].uid], differ)
		}
	}
	return found, nil
}

// copied is a message as it is here.
type copied struct {
	digest digest
	date   time.Time
	flags  string
}

// copies gives those of messages that are here.
func (t *Transfer) copies(p *page, messages []Entry) (map[imap.UID]*copied, error) {
	var uids imap.UIDSet
	for _, e := range messages {
		uids.AddNum(p.done[e.ID].uid)
	}
	all := map[imap.UID]*copied{}
	whole := &imap.FetchItemBodySection{Peek: true}
	err := t.Target.messages(p.Target, uids, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{whole}}, func(m *imapclient.FetchMessageBuffer) {
		all[m.UID] = &copied{sha256.Sum256(m.FindBodySection(whole)), m.InternalDate, flagList(m.Flags)}
	})
	return all, err
}

func compare(e Entry, theirs map[string]digest, ours *copied, differ func(Entry, string, ...any)) {
	switch sum, ok := theirs[e.ID]; {
	case !ok:
		return // gone at the source meanwhile
	case ours == nil:
		differ(e, "is not here any more")
	case sum != ours.digest:
		differ(e, "has other octets here")
	case e.Date != 0 && e.Date != ours.date.Unix():
		differ(e, "has the date %s here and %s there", ours.date.UTC().Format(time.RFC3339), time.Unix(e.Date, 0).UTC().Format(time.RFC3339))
	case e.Flags != ours.flags:
		differ(e, "has the flags (%s) here and (%s) there", ours.flags, e.Flags)
	}
}

package session

import (
	"context"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// specialUseEntry is the special use of a mailbox as an annotation (RFC 6154 §4), by
// which webmails say that the user has chosen another folder. It is not kept among
// the others: LIST tells the same.
const specialUseEntry = wire.MetadataPrivate + "/specialuse"

// tellsUse tells whether the special use is among what is asked for.
func (s *session) tellsUse(g *metadataQuery, h home, name, entry string) bool {
	return h.own && name != serverMetadata && !s.off(imap.CapSpecialUse) &&
		(entry == specialUseEntry || entry == wire.MetadataPrivate && g.depth > 0)
}

// withUse gives annotations with the special use among them.
func (s *session) withUse(ctx context.Context, g *metadataQuery, h home, name, entry string) ([]store.Annotation, error) {
	list, err := h.account.Metadata(ctx, name, s.scope(h, entry), entry, g.depth, g.most)
	if err != nil {
		return nil, err
	}
	use, err := h.account.Use(name)
	if err != nil {
		return nil, err
	}
	// Of before it was told from the others.
	list = slices.DeleteFunc(list, func(m store.Annotation) bool { return m.Entry == specialUseEntry })
	if use == "" {
		return list, nil
	}
	m := store.Annotation{Scope: s.scope(h, specialUseEntry), Entry: specialUseEntry, Size: len(use)}
	if int64(m.Size) <= g.most {
		m.Value = []byte(use)
	}
	at, _ := slices.BinarySearchFunc(list, m, func(a, b store.Annotation) int { return strings.Compare(a.Entry, b.Entry) })
	return slices.Insert(list, at, m), nil
}

// setUse sets the special use, if that is what a SETMETADATA is about. It is by
// itself there: with others, all or none could not be kept.
func (s *session) setUse(p place, entries []wire.MetadataEntry) (done bool, err error) {
	i := slices.IndexFunc(entries, func(e wire.MetadataEntry) bool { return e.Name == specialUseEntry })
	switch {
	case i < 0 || !p.own || s.off(imap.CapSpecialUse):
		return false, nil
	case len(entries) > 1:
		return true, no("", "a special use is set by a command of its own")
	case entries[i].Value == nil:
		return true, p.account.SetUse(p.name, "")
	}
	return true, p.account.SetUse(p.name, imap.MailboxAttr(strings.TrimSpace(*entries[i].Value)))
}

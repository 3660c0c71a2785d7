package session

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// serverMetadata is the name of what annotations of the server are of.
const serverMetadata = ""

// scope is for whom an entry is: everybody, or this user.
func (s *session) scope(h home, entry string) store.Scope {
	switch {
	case !strings.HasPrefix(entry, wire.MetadataPrivate):
		return store.Shared
	case h.own:
		return store.Private("")
	}
	return store.Private(s.User)
}

// getMetadata is GETMETADATA (RFC 5464 §4.2).
func (s *session) getMetadata(ctx context.Context, c *wire.GetMetadata) (imap.ResponseCode, error) {
	g := &metadataQuery{entries: c.Entries, depth: c.Options.Depth, most: math.MaxInt64}
	if c.Options.MaxSize != nil {
		g.most = *c.Options.MaxSize
	}
	var err error
	if c.Mailbox == serverMetadata {
		err = s.writeMetadata(ctx, g, s.home(), serverMetadata, serverMetadata)
	} else {
		err = s.at(ctx, c.Mailbox, func(p place) error {
			return s.writeMetadata(ctx, g, p.home, p.name, shown(c.Mailbox))
		})
	}
	if err == nil && g.longest > 0 {
		return imap.ResponseCode(fmt.Sprintf("METADATA LONGENTRIES %d", g.longest)), nil
	}
	return "", err
}

// metadataQuery is what is asked for, and what was too long.
type metadataQuery struct {
	entries []string
	depth   int
	most    int64
	longest int
}

// writeMetadata writes the METADATA response of a mailbox, if there is anything
// to say, each entry once: with DEPTH, it may be below several that were asked for.
// Without, an entry that has no value is told as such (RFC 9590 §3); what only begins
// names of entries is none.
func (s *session) writeMetadata(ctx context.Context, g *metadataQuery, h home, name, client string) error {
	var found []store.Annotation
	told := map[string]bool{}
	for _, entry := range g.entries {
		list, err := s.metadata(ctx, g, h, name, entry)
		if err != nil {
			return err
		}
		if len(list) == 0 && g.depth == 0 && entry != wire.MetadataShared && entry != wire.MetadataPrivate {
			list = []store.Annotation{{Entry: entry}}
		}
		for _, m := range list {
			if told[m.Entry] {
				continue
			}
			told[m.Entry] = true
			if m.Value == nil && m.Size > 0 {
				g.longest = max(g.longest, m.Size)
				continue
			}
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil
	}
	s.w.Raw("* METADATA ")
	s.w.Mailbox(client)
	for i, m := range found {
		if i == 0 {
			s.w.Raw(" (")
		} else {
			s.w.Raw(" ")
		}
		s.w.AString(m.Entry)
		s.w.Raw(" ")
		if m.Value == nil {
			s.w.Raw("NIL")
			continue
		}
		s.w.Append(func(dst []byte) []byte { return wire.AppendMetadataValue(dst, m.Value) })
	}
	s.w.Raw(")\r\n")
	return nil
}

// metadata gives the annotations of one entry. Those of the server that everybody
// sees are the administrator's, and in no account.
func (s *session) metadata(ctx context.Context, g *metadataQuery, h home, name, entry string) ([]store.Annotation, error) {
	scope := s.scope(h, entry)
	switch {
	case s.tellsUse(g, h, name, entry):
		return s.withUse(ctx, g, h, name, entry)
	case name != serverMetadata || scope != store.Shared:
		return h.account.Metadata(ctx, name, scope, entry, g.depth, g.most)
	}
	var list []store.Annotation
	for _, e := range slices.Sorted(maps.Keys(s.Server)) {
		below, ok := strings.CutPrefix(e+"/", entry+"/")
		value := s.Server[e]
		if !ok || value == "" || strings.Count(below, "/") > g.depth {
			continue
		}
		m := store.Annotation{Entry: e, Size: len(value)}
		if int64(m.Size) <= g.most {
			m.Value = []byte(value)
		}
		list = append(list, m)
	}
	return list, nil
}

// setMetadata is SETMETADATA (RFC 5464 §4.3): all entries or none. Beyond what
// the RFC asks for, it takes the right to write to change what everybody sees.
func (s *session) setMetadata(ctx context.Context, c *wire.SetMetadata) (imap.ResponseCode, error) {
	for _, e := range c.Entries {
		if e.Value != nil && len(*e.Value) > store.MaxAnnotation {
			return "", no(imap.ResponseCode(fmt.Sprintf("METADATA MAXSIZE %d", store.MaxAnnotation)), "value too long")
		}
	}
	if c.Mailbox == serverMetadata {
		for _, e := range c.Entries {
			if s.scope(s.home(), e.Name) == store.Shared {
				return "", no(imap.ResponseCodeNoPerm, "only the administrator annotates the server for all")
			}
		}
		return "", s.Account.SetMetadata(ctx, serverMetadata, s.annotations(s.home(), c.Entries))
	}
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		if done, err := s.setUse(p, c.Entries); done || err != nil {
			return err
		}
		list := s.annotations(p.home, c.Entries)
		for _, m := range list {
			if m.Scope == store.Shared && !p.rights.Has(store.RightWrite) {
				return errRights
			}
		}
		return p.account.SetMetadata(ctx, p.name, list)
	})
}

func (s *session) annotations(h home, entries []wire.MetadataEntry) []store.Annotation {
	list := make([]store.Annotation, len(entries))
	for i, e := range entries {
		list[i] = store.Annotation{Scope: s.scope(h, e.Name), Entry: e.Name}
		if e.Value != nil {
			list[i].Value = []byte(*e.Value)
		}
	}
	return list
}

// annotated are the rights that it takes to read and set annotations (RFC 5464
// §3.3): to look the mailbox up and one of these.
const annotated = store.RightRead | store.RightSeen | store.RightWrite | store.RightInsert | store.RightPost

// listMetadata is the METADATA of LIST-METADATA (RFC 9590). What cannot be told
// is left out.
func (s *session) listMetadata(ctx context.Context, c *wire.List, p place, client string) error {
	if c.ReturnMetadata == nil || !p.rights.Has(store.RightLookup) || !p.rights.Any(annotated) {
		return nil
	}
	g := &metadataQuery{entries: c.ReturnMetadata, most: math.MaxInt64}
	if err := s.writeMetadata(ctx, g, p.home, p.name, client); err != nil {
		if e := s.convert("LIST", err); e.Code == imap.ResponseCodeUnavailable {
			return e
		}
	}
	return nil
}

package store

import (
	"context"
	"time"

	"mailstead/imapserver/message"
)

// Reading is a place in what is cached of a View's messages, for one goroutine
// and one command: it holds buffers until Close.
type Reading struct {
	// Gate, if it is not nil, is passed before a message is read that the cache does not
	// have, and left after.
	Gate func(ctx context.Context, n SeqNum) (leave func(), err error)

	view *View
	place
	fresh blockWriter // messages that were not in the cache
}

// Reading begins to read the cache.
func (v *View) Reading() *Reading {
	k := &Reading{view: v}
	if c := v.mb.cached(); c != nil && c.validity == v.told.uidValidity {
		k.cache, k.dir = c, c.dir.Load()
	}
	return k
}

// Part gives a part of message n, if the cache has it, until the next call.
func (k *Reading) Part(n SeqNum, p Part) ([]byte, bool) {
	if k.cache == nil {
		return nil, false
	}
	r := k.view.told.at(int(n) - 1)
	return k.find(r, baseHash(r.base), p)
}

// Overview is what SORT and THREAD compare of message n. ErrExpunged where
// another session has removed it.
func (k *Reading) Overview(ctx context.Context, n SeqNum) (message.Overview, error) {
	if text, ok := k.Part(n, PartOverview); ok {
		if o, err := message.ParseOverview(text); err == nil {
			return o, nil
		}
	}
	if k.Gate != nil {
		leave, err := k.Gate(ctx, n)
		if err != nil {
			return message.Overview{}, err
		}
		defer leave()
	}
	header, err := k.view.Header(ctx, n)
	if err != nil {
		return message.Overview{}, err
	}
	return message.ParseHeader(header).Overview(), nil
}

// Sent is of the Overview when the message was sent.
func (k *Reading) Sent(ctx context.Context, n SeqNum) (time.Time, error) {
	if text, ok := k.Part(n, PartOverview); ok {
		if t, err := message.OverviewSent(text); err == nil {
			return t, nil
		}
	}
	o, err := k.Overview(ctx, n)
	return o.Sent, err
}

// Keep puts message n into the cache, for those that read one after another.
func (k *Reading) Keep(n SeqNum, m *message.Message) {
	r := k.view.told.at(int(n) - 1)
	if k.cache == nil || k.dir.mixed >= maxMixed || k.fresh.count > 0 && r.uid <= k.fresh.last {
		return
	}
	k.fresh.add(r.uid, baseHash(r.base), partsOf(m))
	if k.fresh.full() {
		k.cache.write(&k.fresh)
	}
}

// partsOf makes the parts of a message.
func partsOf(m *message.Message) func(p Part, dst []byte) ([]byte, bool) {
	return func(p Part, dst []byte) ([]byte, bool) {
		switch p {
		case PartEnvelope:
			return m.AppendEnvelope(dst), true
		case PartBody:
			return m.AppendBodyStructure(dst, false), true
		case PartBodyStructure:
			return m.AppendBodyStructure(dst, true), true
		case PartFields:
			return m.AppendKept(dst)
		}
		o := m.Overview()
		return o.Append(dst), true
	}
}

// worthKeeping is how many messages that were read make a block: fewer are left
// to the background, which puts them into a larger one.
const worthKeeping = 64

// Close gives back what k holds.
func (k *Reading) Close() {
	if k.fresh.count >= worthKeeping {
		k.cache.write(&k.fresh)
	}
	k.view.mb.a.served.Store(time.Now().UnixNano())
	*k = Reading{view: k.view}
}

// place is a place in a cache.
type place struct {
	cache    *cache
	dir      *directory
	block    *block
	sections [sectionCount][]byte // of block, as far as they have been read
	last     int                  // where in it the last message was found
}

// find gives a part of a message.
func (k *place) find(r *record, hash uint64, p Part) (text []byte, ok bool) {
	if k.block != nil {
		if text, found, ok := k.get(r, hash, p); found {
			return text, ok
		}
	}
	k.dir.holding(r.uid, func(b *block) bool {
		if b == k.block || !k.enter(b) {
			return false
		}
		var found bool
		text, found, ok = k.get(r, hash, p)
		return found
	})
	return text, ok
}

// enter makes b the block that is read.
func (k *place) enter(b *block) bool {
	k.block, k.last = b, 0
	for i := range k.sections {
		k.sections[i] = k.sections[i][:0]
	}
	return k.load(0)
}

// load reads a section of the block. One that is damaged is left out from now
// on.
func (k *place) load(section int) bool {
	if len(k.sections[section]) > 0 {
		return true
	}
	buf, err := k.block.section(k.dir.file, section, k.sections[section])
	k.sections[section] = buf
	if err != nil {
		k.sections[section] = buf[:0]
		k.cache.drop(k.dir, k.block, err)
		k.block = nil
		k.dir = k.cache.dir.Load()
	}
	return err == nil
}

// get gives a part of a message from the block; found says that the message is
// in it.
func (k *place) get(r *record, hash uint64, p Part) (text []byte, found, ok bool) {
	i, found := k.block.find(k.sections[0], r.uid, hash, k.last)
	if !found || !k.load(1+int(p)) {
		return nil, false, false
	}
	k.last = i
	text, ok = k.block.text(k.sections[1+p], i)
	return text, true, ok
}

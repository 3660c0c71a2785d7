package login

import (
	"container/list"
	"net/netip"
	"time"
)

// known is the sources from which a user has logged in: they are let in when
// strangers are turned away. It holds no more than so many, the latest, and is
// of one process: who comes first after a restart is a stranger.
type known struct {
	limits Limits
	where  map[netip.Prefix]*list.Element // of order
	order  list.List                      // of visit, the latest first
}

// visit is the last login of a source.
type visit struct {
	source netip.Prefix
	at     time.Time
}

func newKnown(l Limits) *known { return &known{limits: l, where: map[netip.Prefix]*list.Element{}} }

// add notes a login, and forgets those that are too old or too many.
func (k *known) add(source netip.Prefix, now time.Time) {
	if !source.IsValid() {
		return
	}
	if e := k.where[source]; e != nil {
		e.Value = visit{source, now}
		k.order.MoveToFront(e)
	} else {
		k.where[source] = k.order.PushFront(visit{source, now})
	}
	for e := k.order.Back(); len(k.where) > k.limits.Known || k.old(e, now); e = k.order.Back() {
		delete(k.where, k.order.Remove(e).(visit).source)
	}
}

func (k *known) old(e *list.Element, now time.Time) bool {
	return now.Sub(e.Value.(visit).at) > k.limits.KnownLife
}

func (k *known) has(source netip.Prefix, now time.Time) bool {
	e := k.where[source]
	return e != nil && !k.old(e, now)
}

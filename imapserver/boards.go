package imapserver

import (
	"maps"
	"slices"
	"time"

	"mailstead/imapserver/handoff"
)

// boardsSettle is how long after our start we do not know yet of all logins that
// there are. Those that have not come back have what they count where the others can
// read it all the same.
const boardsSettle = 3 * time.Second

// boarded takes note of what a login counts, and gives it to all others, and theirs to
// it. A login is told before it goes over to its settings, and so before it accepts.
func (p *Parted) boarded(d *door) {
	if _, ok := p.settings.Load().listener(d.hello.Listener); !ok || d.hello.Board == nil {
		return
	}
	p.boarding.Lock()
	known, gone := p.boards[d.hello.Listener] == d, d.ctx.Err() != nil
	if !gone { // or its board is closed, or about to be, and nobody would take it out again
		p.boards[d.hello.Listener] = d
	}
	p.boarding.Unlock()
	if !known && !gone {
		p.tellBoards()
	}
}

// unboarded takes note that a login is gone.
func (p *Parted) unboarded(d *door) {
	p.boarding.Lock()
	known := p.boards[d.hello.Listener] == d
	if known {
		delete(p.boards, d.hello.Listener)
	}
	if d.hello.Board != nil {
		d.hello.Board.Close()
	}
	p.boarding.Unlock()
	if known {
		p.tellBoards()
	}
}

// tellBoards tells all logins which boards there are. It is a state, and may be told
// again.
func (p *Parted) tellBoards() {
	p.boarding.Lock()
	defer p.boarding.Unlock()
	for listener, d := range p.boards {
		if err := p.tellBoardsTo(listener, d); err != nil {
			d.Close() // it comes back, and is told then
		}
	}
}

func (p *Parted) tellBoardsTo(listener string, d *door) error {
	names := slices.Sorted(maps.Keys(p.boards))
	for _, name := range names {
		if name == listener {
			continue
		}
		if err := d.Send(&handoff.Board{Listener: name, Memory: p.boards[name].hello.Board}); err != nil {
			return err
		}
	}
	if !p.settled {
		return nil
	}
	return d.Send(&handoff.Boards{Listeners: names})
}

// settle is called once all logins have had the time to come back.
func (p *Parted) settle() {
	p.boarding.Lock()
	p.settled = true
	p.boarding.Unlock()
	p.tellBoards()
}

package search

// mergeSubjects is step 5 of REFERENCES (RFC 5256 §3): threads with the same
// subject become one. The roots are in order of their sent dates.
func (t *Threader) mergeSubjects(roots []int32) {
	table := map[string]int32{}
	for _, n := range roots {
		subject := t.subject(n)
		if subject == "" {
			continue
		}
		have, ok := table[subject]
		if !ok || !t.dummy(have) && (t.dummy(n) || t.reply(have) && !t.reply(n)) {
			table[subject] = n
		}
	}
	for _, n := range roots {
		subject := t.subject(n)
		have := table[subject]
		if subject == "" || have == n {
			continue
		}
		switch {
		case t.dummy(n) && t.dummy(have):
			t.moveChildren(n, have)
		case t.dummy(have), t.reply(n) && !t.reply(have):
			t.adopt(have, n)
		default:
			both := t.newNode()
			t.adopt(both, have)
			t.adopt(both, n)
			table[subject] = both
		}
	}
}

func (t *Threader) dummy(n int32) bool { return t.nodes[n].message == none }

func (t *Threader) reply(n int32) bool { return t.messages[t.nodes[n].message].reply }

// subject gives that of a root: a dummy's is that of its first child.
func (t *Threader) subject(n int32) string {
	if t.dummy(n) {
		n = t.nodes[n].first
	}
	return t.messages[t.nodes[n].message].subject
}

// moveChildren hangs the children of one node below another.
func (t *Threader) moveChildren(from, to int32) {
	for n := t.nodes[from].first; n != none; {
		next := t.nodes[n].next
		t.adopt(to, n)
		n = next
	}
	t.nodes[from].first, t.nodes[from].last = none, none
}

// groupSubjects is ORDEREDSUBJECT (RFC 5256 §3): of the messages with one base
// subject the first is the root, and the others are its children.
func (t *Threader) groupSubjects(order []int32) (roots []int32) {
	first := map[string]int32{}
	for _, i := range order {
		m := &t.messages[i]
		n, ok := first[m.subject]
		if !ok {
			first[m.subject] = m.node
			roots = append(roots, m.node)
			continue
		}
		t.nodes[m.node].parent = n
	}
	return roots
}

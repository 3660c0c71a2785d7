package schema

import (
	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// inbox is the mailbox that every user has. A description may say of it when mail is
// removed from it, and nothing else.
const inbox = "INBOX"

// folders is what is made for a user, and what is said of the inbox.
type folders struct {
	list       []Folder
	purgeInbox int // days; 0: never
}

// purgesInbox takes the rule by which mail is removed from the inbox. It has to stand
// under that name: a pattern that was meant for other folders is no reason to
// remove what everybody is sent.
func (c *completer) purgesInbox(s spot, days int) int {
	for _, name := range []string{"use", "subscribe"} {
		if f := s.at(name); f.exists() {
			f.fault(CodeValue, "is said of the inbox, which is what it is", "leave it out; only purge can be said of INBOX")
			return days
		}
	}
	after := s.at("purge", "after")
	if !after.exists() {
		return days
	}
	if !c.writtenOut(after) {
		after.fault(CodeUnsafe, "reaches the inbox by a pattern or from elsewhere, and would remove the mail that users are sent",
			`write folders: INBOX: purge: after: "365d" out by name if that is meant; [!="INBOX"]: matches all other folders`)
		return days
	}
	return after.days()
}

// noteInbox notes where the operator wrote a rule for the inbox under its name.
func (l *loader) noteInbox(n ast.Node) {
	ast.Walk(n, func(n ast.Node) bool {
		f, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		if name, ok := fieldName(f.Label); !ok || name != inbox {
			return true
		}
		var under place
		under.noteValue(f.Value)
		if p, n := under.find([]string{"purge", "after"}); n == 2 {
			l.inboxRules[posOf(p.value)] = true
		}
		return true
	}, nil)
}

// writtenOut tells whether one of the declarations of a rule was noted.
func (l *loader) writtenOut(s spot) bool {
	var written func(v cue.Value, depth int) bool
	written = func(v cue.Value, depth int) bool {
		at := v.Pos()
		if f, ok := v.Source().(*ast.Field); ok {
			at = f.Value.Pos()
		}
		if l.inboxRules[posOf(at)] {
			return true
		}
		op, parts := v.Expr()
		if op != cue.AndOp || depth == 0 {
			return false
		}
		for _, part := range parts {
			if written(part, depth-1) {
				return true
			}
		}
		return false
	}
	return written(s.value, maxConjuncts)
}

// maxConjuncts is how deep conjunctions of one value are followed.
const maxConjuncts = 16

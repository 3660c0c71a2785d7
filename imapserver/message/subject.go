package message

import "strings"

// baseSubject takes a decoded subject down to what replies and forwards of it
// share, and says whether it was one of those (RFC 5256 §2.1). It reads every
// octet a bounded number of times. Deviation: what stands in brackets may be any
// text, not ASCII alone, as everyone reads the grammar.
func baseSubject(s string) (base string, reply bool) {
	s = singleSpaces(s)
	for {
		var trailer, leader bool
		s, trailer = cutTrailers(s)
		s, leader = cutLeaders(s)
		reply = reply || trailer || leader
		inner, ok := cutForward(s)
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// singleSpaces makes of every run of white space one space.
func singleSpaces(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t', '\r', '\n':
			if b.Len() == 0 || b.String()[b.Len()-1] != ' ' {
				b.WriteByte(' ')
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// cutTrailers takes "(fwd)" and spaces off the end.
func cutTrailers(s string) (rest string, forward bool) {
	const mark = "(fwd)"
	for {
		s = strings.TrimRight(s, " ")
		n := len(s) - len(mark)
		if n < 0 || !strings.EqualFold(s[n:], mark) {
			return s, forward
		}
		s, forward = s[:n], true
	}
}

// cutLeaders takes off the front what stands before the base: spaces, "re:" and
// "fwd:", each with what stands in brackets before it, and at last what stands
// in brackets before other text. Of brackets alone the last pair is the base.
func cutLeaders(s string) (rest string, reply bool) {
	for {
		s = strings.TrimLeft(s, " ")
		last, after := s, s
		for {
			next, ok := cutBlob(after)
			if !ok {
				break
			}
			last, after = after, next
		}
		next, ok := cutMark(after)
		switch {
		case ok:
			s, reply = next, true
		case after == "":
			return last, reply
		default:
			return after, reply
		}
	}
}

// cutBlob takes "[...]" and the spaces after it off the front.
func cutBlob(s string) (rest string, ok bool) {
	if s == "" || s[0] != '[' {
		return s, false
	}
	n := strings.IndexAny(s[1:], "[]")
	if n < 0 || s[1+n] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[n+2:], " "), true
}

// cutMark takes "re:", "fw:" or "fwd:" off the front, which may have "[...]" and
// spaces before the colon.
func cutMark(s string) (rest string, ok bool) {
	for _, mark := range []string{"re", "fwd", "fw"} {
		if len(s) < len(mark) || !strings.EqualFold(s[:len(mark)], mark) {
			continue
		}
		after := strings.TrimLeft(s[len(mark):], " ")
		after, _ = cutBlob(after)
		if strings.HasPrefix(after, ":") {
			return after[1:], true
		}
	}
	return s, false
}

// cutForward takes the text out of "[fwd: text]".
func cutForward(s string) (inner string, ok bool) {
	const head = "[fwd:"
	if len(s) <= len(head) || !strings.EqualFold(s[:len(head)], head) || s[len(s)-1] != ']' {
		return s, false
	}
	return s[len(head) : len(s)-1], true
}

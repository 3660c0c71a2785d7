package search

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

// gramsIn gives the grams of a message.
func gramsIn(t testing.TB, g *Grams, raw string) map[Gram]bool {
	t.Helper()
	list, ok, err := g.Of(t.Context(), message.Parse([]byte(raw)), int(numberOfGrams))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	has := make(map[Gram]bool)
	for _, n := range list {
		if has[n] {
			t.Fatalf("gram %x twice", n)
		}
		has[n] = true
	}
	return has
}

// isLeft says whether the narrowing leaves a message with those grams.
func (n *Narrowing) isLeft(has map[Gram]bool) bool {
	return n == nil || n.Left(func(g Gram) []uint64 {
		if has[g] {
			return []uint64{1}
		}
		return []uint64{0}
	})[0] == 1
}

// shards are what random messages and needles are made of.
var shards = []string{
	"a", "b", "ab", "ba", " ", "\r\n", "\r\n ", "é", "E\u0301", "ß", "ﬁ", "漢", "字", "\x00", "\xff", `"`, "*", "(", "'", "AND", "=", "=C3=A9",
	"=?utf-8?q?ab=C3=A9?=", "=?utf-8?b?w6lhYg==?=", "\u200b", "İ", "K",
}

func shatter(r *rand.Rand, most int) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteString(shards[r.IntN(len(shards))])
	}
	return b.String()
}

// randomMail is a message whose parts have different charsets and encodings.
func randomMail(r *rand.Rand) string {
	header := "Subject:" + shatter(r, 4) + "\r\nX-Other: " + shatter(r, 6) + "\r\n"
	leaf := func() string {
		charset := []string{"utf-8", "iso-8859-1", "utf-16be", "nothing"}[r.IntN(4)]
		encoding := []string{"8bit", "quoted-printable", "base64"}[r.IntN(3)]
		return "Content-Type: text/plain; charset=" + charset + "\r\nContent-Transfer-Encoding: " + encoding + "\r\nSubject: " +
			shatter(r, 3) + "\r\n\r\n" + shatter(r, 12)
	}
	switch r.IntN(3) {
	case 0:
		return header + leaf()
	case 1:
		return header + "Content-Type: message/rfc822\r\n\r\n" + leaf()
	}
	return header + "Content-Type: multipart/mixed; boundary=\"##\"\r\n\r\n" + shatter(r, 2) + "\r\n--##\r\n" + leaf() + "\r\n--##\r\n" + leaf() + "\r\n--##--\r\n"
}

func randomKey(r *rand.Rand, depth int) wire.SearchKey {
	if depth > 0 {
		sub := func() wire.SearchKey { return randomKey(r, depth-1) }
		switch r.IntN(5) {
		case 0:
			return keys(wire.SearchAnd, sub(), sub(), sub())
		case 1:
			return keys(wire.SearchOr, sub(), sub())
		case 2:
			return keys(wire.SearchNot, sub())
		}
	}
	switch r.IntN(5) {
	case 0:
		return header([]string{"Subject", "X-Other", "To"}[r.IntN(3)], shatter(r, 3))
	case 1:
		return text(wire.SearchText, shatter(r, 3))
	case 2:
		return keys(wire.SearchAll)
	}
	return text(wire.SearchBody, shatter(r, 3))
}

// TestNarrowing holds that whatever meets a program is left by its narrowing,
// and that the narrowing is of use.
func TestNarrowing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	g := NewGrams()
	met, left, total := 0, 0, 0
	for range 400 {
		raw := randomMail(r)
		has := gramsIn(t, g, raw)
		for range 40 {
			key := randomKey(r, 2)
			ok, err := Compile(key, Frame{}).Match(t.Context(), &now, &source{raw: raw})
			if err != nil {
				t.Fatal(err)
			}
			is := Narrow(key).isLeft(has)
			if ok && !is {
				t.Fatalf("%+v is met by a message that is not left:\n%q", key, raw)
			}
			total++
			if ok {
				met++
			}
			if is {
				left++
			}
		}
	}
	t.Logf("of %d, %d met and %d left", total, met, left)
	if left-met > (total-met)*3/4 {
		t.Error("too many are left")
	}
}

func TestNarrow(t *testing.T) {
	body := func(s string) wire.SearchKey { return text(wire.SearchBody, s) }
	all := keys(wire.SearchAll)
	for _, c := range []struct {
		key  wire.SearchKey
		left string // of the messages below, which are left
	}{
		{all, "0123"},
		{body("ab"), "0123"},
		{body(""), "0123"},
		{body("one"), "02"},
		{body("字"), "3"}, // one character has three octets
		{body("TWO"), "12"},
		{keys(wire.SearchAnd, body("one"), body("two"), all), "2"},
		{keys(wire.SearchOr, body("one"), body("two")), "012"},
		{keys(wire.SearchOr, body("one"), all), "0123"},
		{keys(wire.SearchNot, body("one")), "0123"},
		{keys(wire.SearchAnd, keys(wire.SearchNot, body("one")), body("two")), "12"},
		{text(wire.SearchText, "one"), "023"},
		{header("subject", "one"), "3"},
		{header("subject", ""), "0123"},
		{keys(wire.SearchAnd), "0123"},
		{body(strings.Repeat("one", 10_000)), ""},
	} {
		left := ""
		for i, raw := range []string{"\r\none", "\r\ntwo", "\r\none two", "Subject: one\r\n\r\n漢字"} {
			if Narrow(c.key).isLeft(gramsIn(t, NewGrams(), raw)) {
				left += fmt.Sprint(i)
			}
		}
		if left != c.left {
			t.Errorf("%v leaves %q, want %q", c.key, left, c.left)
		}
	}
}

// TestNarrowHeader has a value that is not a part of its field's text.
func TestNarrowHeader(t *testing.T) {
	raw := "=?utf-8?q?a: b?=\r\n\r\n"
	key := header("=?utf-8?q?a", "b?=")
	if ok, err := Compile(key, Frame{}).Match(t.Context(), &now, &source{raw: raw}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if !Narrow(key).isLeft(gramsIn(t, NewGrams(), raw)) {
		t.Error("it is not left")
	}
}

// TestNarrowingBounds holds how many grams are asked about.
func TestNarrowingBounds(t *testing.T) {
	if n := Narrow(text(wire.SearchBody, strings.Repeat("abcdefghijklm", 1000))); len(n.Grams()) > maxKeyGrams {
		t.Errorf("%d grams of one string", len(n.Grams()))
	}
	var many []wire.SearchKey
	for i := range 1000 {
		many = append(many, text(wire.SearchBody, fmt.Sprint("word ", i)))
	}
	if n := Narrow(keys(wire.SearchAnd, many...)); len(n.gather(nil)) > maxGrams {
		t.Errorf("%d grams", len(n.gather(nil)))
	}
	if n := Narrow(keys(wire.SearchOr, many...)); n != nil {
		t.Error("OR was narrowed by some of its keys")
	}
}

// TestGramsLimit finds the grams of a text over the border of two pieces, and
// gives up on a text with too many.
func TestGramsLimit(t *testing.T) {
	g := NewGrams()
	raw := "\r\n" + strings.Repeat("x", chunk-1) + "abc"
	list, ok, err := g.Of(t.Context(), message.Parse([]byte(raw)), 10)
	want := []Gram{gramAt([]byte("XXX"), 0), gramAt([]byte("XXA"), 0), gramAt([]byte("XAB"), 0), gramAt([]byte("ABC"), 0)}
	if !slices.Equal(list, want) || !ok || err != nil {
		t.Errorf("%x, %v, %v", list, ok, err)
	}
	if _, ok, err := g.Of(t.Context(), message.Parse([]byte(raw)), 3); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

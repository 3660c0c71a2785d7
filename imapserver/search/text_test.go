package search

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/wire"
)

func TestFold(t *testing.T) {
	for _, pair := range [][2]string{
		{"abc", "ABC"}, {"straße", "STRAßE"}, {"é", "E\u0301"}, {"ﬁn", "FIN"}, {"σ", "ς"}, {"ǆ", "Dž"},
		{"Å", "å"}, {"½", "1⁄2"}, {"ｆｕｌｌ", "FULL"}, {"a\u00a0b", "A B"}, {"\xff", "\uFFFD"}, {"ſ", "s"}, {"㎏", "kg"},
	} {
		if a, b := string(fold(pair[0])), string(fold(pair[1])); a != b {
			t.Errorf("%q folds to %q, %q to %q", pair[0], a, pair[1], b)
		}
	}
	for _, pair := range [][2]string{{"a", "b"}, {"ß", "s"}, {"漢", "字"}, {"é", "e"}} {
		if a, b := string(fold(pair[0])), string(fold(pair[1])); a == b {
			t.Errorf("%q and %q both fold to %q", pair[0], pair[1], a)
		}
	}
}

// TestFoldPieces holds that text folds alike however it is cut.
func TestFoldPieces(t *testing.T) {
	const s = "aé漢𝒳\xff\xe6\xbc\u0301z\xf0\x9d"
	want := string(fold(s))
	for i := range len(s) + 1 {
		dst, rest := appendFold(nil, []byte(s[:i]), false)
		dst, _ = appendFold(dst, append([]byte(string(rest)), s[i:]...), true)
		if string(dst) != want {
			t.Errorf("cut at %d: %q, want %q", i, dst, want)
		}
	}
}

// TestChunks finds strings at every place around the borders of chunks.
func TestChunks(t *testing.T) {
	const word = "Grüße aus dem Norden"
	for _, key := range []string{word, "norden", "ß", word + " " + word} {
		p := Compile(text(wire.SearchBody, key), Frame{})
		for at := chunk - 64; at < chunk+64; at++ {
			raw := "\r\n" + strings.Repeat("x", at) + word + " " + word + strings.Repeat("y", 2*chunk)
			if ok, err := p.Match(t.Context(), &now, &source{raw: raw}); !ok || err != nil {
				t.Fatalf("%q at %d: %v, %v", key, at, ok, err)
			}
		}
	}
}

// TestNoMatchAcrossTexts holds that what one text leaves does not join the next.
func TestNoMatchAcrossTexts(t *testing.T) {
	raw := "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n" + strings.Repeat("a", chunk+10) + "left\r\n--x\r\n\r\nright\r\n--x--\r\n"
	p := Compile(text(wire.SearchBody, "leftright"), Frame{})
	if ok, err := p.Match(t.Context(), &now, &source{raw: raw}); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestManyKeys shows that the work grows with the keys, not with their square.
func TestManyKeys(t *testing.T) {
	raw := strings.Repeat("Subject: one two three\r\n", 200) + "\r\n" + strings.Repeat("words and words\r\n", 200)
	spend := func(n int) time.Duration {
		var list []wire.SearchKey
		for i := range n {
			list = append(list, header("Subject", fmt.Sprint("x", i)), text(wire.SearchText, fmt.Sprint("x", i)), uid())
		}
		best := time.Hour
		for range 3 {
			start := time.Now()
			p := Compile(keys(wire.SearchOr, list...), Frame{})
			if ok, err := p.Match(t.Context(), &now, &source{raw: raw}); ok || err != nil {
				t.Fatal(ok, err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	for try := 0; ; try++ {
		one, four := spend(250), spend(1000)
		if four < 9*one+10*time.Millisecond {
			break
		}
		if try == 4 {
			t.Fatalf("250 keys take %v, 1000 keys %v", one, four)
		}
	}
}

// TestRanges compares sets with a plain look at every range.
func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		type bounds struct{ a, b uint32 }
		list := make([]bounds, r.IntN(8))
		for i := range list {
			list[i] = bounds{r.Uint32N(20), r.Uint32N(20)}
		}
		const highest = 15
		set := newRanges(len(list), func(i int) (uint32, uint32) { return list[i].a, list[i].b }, highest)
		for n := uint32(1); n < 25; n++ {
			want := false
			for _, b := range list {
				lo, hi := b.a, b.b
				if lo == 0 {
					lo = highest
				}
				if hi == 0 {
					hi = highest
				}
				want = want || min(lo, hi) <= n && n <= max(lo, hi)
			}
			if have := set.contains(n); have != want {
				t.Fatalf("%v contains %d: %v", list, n, have)
			}
		}
	}
}

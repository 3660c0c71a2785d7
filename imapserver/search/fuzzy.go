package search

import (
	"slices"
	"strings"
	"unicode"
)

// fuzzyKey is a string that is looked for inside FUZZY (RFC 6203). Its measure
// is 100 where the string is found as it stands. Otherwise it is 90 times the
// share of the string's words that are found, in any order, where a word of
// which only the beginning is found counts half; below half of the words the
// string is not found. Keys that are not about strings are exact inside FUZZY too.
type fuzzyKey struct {
	whole int
	words []fuzzyWord
	in    func(t *target, n int) (bool, error) // whether pattern n was found
}

// fuzzyWord is the patterns of a word and of its beginning.
type fuzzyWord struct{ word, stem int }

const (
	// maxFuzzyWords is how many words of a string are looked for, from its first on.
	maxFuzzyWords = 16
	// minStem is the length of the shortest beginning of a word, in letters.
	minStem = 4
	// best is the measure of a string that is found as it stands, and inParts the
	// measure of one of which all words are found.
	best    = 100
	inParts = 90
)

func newFuzzyKey(s string, add func(pattern []byte) int, in func(*target, int) (bool, error)) *fuzzyKey {
	pattern := fold(s)
	f := &fuzzyKey{whole: add(pattern), in: in}
	var words []string
	for w := range strings.FieldsFuncSeq(string(pattern), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r)
	}) {
		if len(words) == maxFuzzyWords {
			break
		}
		if !slices.Contains(words, w) {
			words = append(words, w)
			f.words = append(f.words, fuzzyWord{add([]byte(w)), add([]byte(stem(w)))})
		}
	}
	return f
}

// stem is the beginning of a word: two thirds of it, or all of a short one.
func stem(word string) string {
	letters := []rune(word)
	return string(letters[:max((2*len(letters)+2)/3, min(minStem, len(letters)))])
}

func (f *fuzzyKey) match(t *target) (bool, error) {
	n, err := f.measure(t)
	return n > 0, err
}

// measure says how well a message matches: 0, or from 45 to 100.
func (f *fuzzyKey) measure(t *target) (int, error) {
	if ok, err := f.in(t, f.whole); ok || err != nil {
		return best, err
	}
	halves := 0
	for _, w := range f.words {
		stem, err := f.in(t, w.stem)
		if err != nil {
			return 0, err
		}
		word, err := f.in(t, w.word)
		switch {
		case err != nil:
			return 0, err
		case word:
			halves += 2
		case stem:
			halves++
		}
	}
	if halves < len(f.words) || halves == 0 {
		return 0, nil
	}
	return inParts * halves / (2 * len(f.words)), nil
}

// rate gives the score of a message that matches: the mean of the measures of
// those strings inside FUZZY that were found, 100 where there is none.
func (p *Program) rate(t *target) (int, error) {
	sum, found := 0, 0
	for _, f := range p.fuzzies {
		n, err := f.measure(t)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			sum, found = sum+n, found+1
		}
	}
	if found == 0 {
		return best, nil
	}
	return sum / found, nil
}

// Rate makes Match work out scores. It may have to read more of a message then.
func (p *Program) Rate() { p.rating = true }

// Score says how well the last message that matched does so, from 1 to 100 (RFC
// 6203 §4); without Rate, that is 100.
func (p *Program) Score() int { return p.score }

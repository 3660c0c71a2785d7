package wire

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// SearchRow is a word that SEARCH knows.
type SearchRow struct {
	Name  string
	RFC   int
	Cap   imap.Cap                   // the capability that brings it; "" for the base
	parse func(d *decoder) SearchKey // reads the arguments
	// keys is for the words that combine keys: how many follow. It has parse's
	// place because the parser of keys reads this table.
	keys int
}

// SearchKeys is every search key.
var SearchKeys = []SearchRow{
	{Name: "$", RFC: 5182, Cap: imap.CapSearchRes, parse: always(SearchKey{Op: SearchSaved})},
	{Name: "ALL", RFC: 3501, parse: always(SearchKey{Op: SearchAll})},
	{Name: "ANSWERED", RFC: 3501, parse: always(flagKey(imap.FlagAnswered))},
	{Name: "BCC", RFC: 3501, parse: headerKey("Bcc")},
	{Name: "BEFORE", RFC: 3501, parse: dateKey(SearchBefore)},
	{Name: "BODY", RFC: 3501, parse: textKey(SearchBody)},
	{Name: "CC", RFC: 3501, parse: headerKey("Cc")},
	{Name: "DELETED", RFC: 3501, parse: always(flagKey(imap.FlagDeleted))},
	{Name: "DRAFT", RFC: 3501, parse: always(flagKey(imap.FlagDraft))},
	{Name: "EMAILID", RFC: 8474, Cap: imap.CapObjectID, parse: parseEmailID},
	{Name: "FLAGGED", RFC: 3501, parse: always(flagKey(imap.FlagFlagged))},
	{Name: "FROM", RFC: 3501, parse: headerKey("From")},
	{Name: "FUZZY", RFC: 6203, Cap: imap.CapSearchFuzzy, keys: 1},
	{Name: "HEADER", RFC: 3501, parse: parseHeaderKey},
	{Name: "KEYWORD", RFC: 3501, parse: parseKeyword},
	{Name: "LARGER", RFC: 3501, parse: sizeKey(SearchLarger)},
	{Name: "MODSEQ", RFC: 7162, Cap: imap.CapCondStore, parse: parseModSeqKey},
	{Name: "NEW", RFC: 3501, parse: always(andKey(SearchKey{Op: SearchRecent}, notKey(flagKey(imap.FlagSeen))))},
	{Name: "NOT", RFC: 3501, keys: 1},
	{Name: "OLD", RFC: 3501, parse: always(notKey(SearchKey{Op: SearchRecent}))},
	{Name: "OLDER", RFC: 5032, Cap: imap.CapWithin, parse: intervalKey(SearchOlder)},
	{Name: "ON", RFC: 3501, parse: dateKey(SearchOn)},
	{Name: "OR", RFC: 3501, keys: 2},
	{Name: "RECENT", RFC: 3501, parse: always(SearchKey{Op: SearchRecent})},
	{Name: "SAVEDATESUPPORTED", RFC: 8514, Cap: imap.CapSaveDate, parse: always(SearchKey{Op: SearchAll})},
	{Name: "SAVEDBEFORE", RFC: 8514, Cap: imap.CapSaveDate, parse: dateKey(SearchSavedBefore)},
	{Name: "SAVEDON", RFC: 8514, Cap: imap.CapSaveDate, parse: dateKey(SearchSavedOn)},
	{Name: "SAVEDSINCE", RFC: 8514, Cap: imap.CapSaveDate, parse: dateKey(SearchSavedSince)},
	{Name: "SEEN", RFC: 3501, parse: always(flagKey(imap.FlagSeen))},
	{Name: "SENTBEFORE", RFC: 3501, parse: dateKey(SearchSentBefore)},
	{Name: "SENTON", RFC: 3501, parse: dateKey(SearchSentOn)},
	{Name: "SENTSINCE", RFC: 3501, parse: dateKey(SearchSentSince)},
	{Name: "SINCE", RFC: 3501, parse: dateKey(SearchSince)},
	{Name: "SMALLER", RFC: 3501, parse: sizeKey(SearchSmaller)},
	{Name: "SUBJECT", RFC: 3501, parse: headerKey("Subject")},
	{Name: "TEXT", RFC: 3501, parse: textKey(SearchText)},
	{Name: "THREADID", RFC: 8474, Cap: imap.CapObjectID, parse: parseThreadID},
	{Name: "TO", RFC: 3501, parse: headerKey("To")},
	{Name: "UID", RFC: 3501, parse: parseUIDKey},
	{Name: "UNANSWERED", RFC: 3501, parse: always(notKey(flagKey(imap.FlagAnswered)))},
	{Name: "UNDELETED", RFC: 3501, parse: always(notKey(flagKey(imap.FlagDeleted)))},
	{Name: "UNDRAFT", RFC: 3501, parse: always(notKey(flagKey(imap.FlagDraft)))},
	{Name: "UNFLAGGED", RFC: 3501, parse: always(notKey(flagKey(imap.FlagFlagged)))},
	{Name: "UNKEYWORD", RFC: 3501, parse: func(d *decoder) SearchKey { return notKey(parseKeyword(d)) }},
	{Name: "UNSEEN", RFC: 3501, parse: always(notKey(flagKey(imap.FlagSeen)))},
	{Name: "YOUNGER", RFC: 5032, Cap: imap.CapWithin, parse: intervalKey(SearchYounger)},
}

func flagKey(f imap.Flag) SearchKey      { return SearchKey{Op: SearchFlag, Flag: f} }
func notKey(k SearchKey) SearchKey       { return SearchKey{Op: SearchNot, Keys: []SearchKey{k}} }
func andKey(keys ...SearchKey) SearchKey { return SearchKey{Op: SearchAnd, Keys: keys} }
func always(k SearchKey) func(*decoder) SearchKey {
	return func(*decoder) SearchKey { return k }
}

func headerKey(name string) func(*decoder) SearchKey {
	return func(d *decoder) SearchKey {
		return SearchKey{Op: SearchHeader, Header: name, Text: d.spSearchText()}
	}
}

func textKey(op SearchOp) func(*decoder) SearchKey {
	return func(d *decoder) SearchKey {
		if d.texts++; d.texts > d.r.limits.Texts {
			d.refuse(imap.StatusResponseTypeNo, imap.ResponseCodeLimit, "too many TEXT and BODY keys in a search")
		}
		return SearchKey{Op: op, Text: d.spSearchText()}
	}
}

func dateKey(op SearchOp) func(*decoder) SearchKey {
	return func(d *decoder) SearchKey {
		d.expectSP()
		return SearchKey{Op: op, Date: d.expectDate()}
	}
}

func sizeKey(op SearchOp) func(*decoder) SearchKey {
	return func(d *decoder) SearchKey {
		d.expectSP()
		return SearchKey{Op: op, Size: d.expectNumber63()}
	}
}

func parseHeaderKey(d *decoder) SearchKey {
	d.expectSP()
	name := d.expectAString("field name")
	if !isFieldName(name) {
		d.fail("bad field name")
	}
	return SearchKey{Op: SearchHeader, Header: name, Text: d.spSearchText()}
}

func parseKeyword(d *decoder) SearchKey {
	d.expectSP()
	return flagKey(imap.Flag(d.expectAtom("keyword")))
}

func parseUIDKey(d *decoder) SearchKey {
	d.expectSP()
	if d.takeSaved() {
		return SearchKey{Op: SearchSaved}
	}
	return SearchKey{Op: SearchUID, UIDSet: d.expectUIDSet()}
}

func intervalKey(op SearchOp) func(*decoder) SearchKey {
	return func(d *decoder) SearchKey {
		d.expectSP()
		return SearchKey{Op: op, Interval: time.Duration(d.expectNonZero32()) * time.Second}
	}
}

// spSearchText reads a string to search for. Without CHARSET too it may be
// UTF-8: RFC 9051 §6.4.4 has made that the default.
func (d *decoder) spSearchText() string {
	d.expectSP()
	s := d.expectAString("string")
	if !utf8.ValidString(s) {
		d.badCharset()
	}
	return s
}

func (d *decoder) badCharset() {
	d.refuse(imap.StatusResponseTypeNo, imap.ResponseCodeBadCharset+" (US-ASCII UTF-8)", "only US-ASCII and UTF-8 can be searched for")
}

func parseSearch(d *decoder) Command    { return d.search(false) }
func parseUIDSearch(d *decoder) Command { return d.search(true) }

// search reads SEARCH (RFC 9051 §6.4.4): result options and a character set
// may come before the keys.
func (d *decoder) search(uid bool) Command {
	c := &Search{UID: uid}
	d.expectSP()
	d.searchProgram(c, d.searchWord())
	return c
}

// searchProgram reads "[RETURN (options) SP] [CHARSET charset SP] keys", which
// begins with word.
func (d *decoder) searchProgram(c *Search, word string) {
	if word == "RETURN" {
		d.use(imap.CapESearch)
		c.Return = d.spSearchReturn()
		word = d.searchWord()
	}
	if word == "CHARSET" {
		d.expectSP()
		d.charset()
		d.expectSP()
		word = d.searchWord()
	}
	d.searchKeys(c, word)
}

// searchKeys reads the keys, the first of which begins with word, up to the end
// of the command.
func (d *decoder) searchKeys(c *Search, word string) {
	keys := []SearchKey{d.searchKey(word)}
	for d.take(' ') {
		keys = append(keys, d.searchKey(d.searchWord()))
	}
	c.Key = joinKeys(keys)
	if c.Return != nil && c.Return.Relevancy && !c.Key.Uses(SearchFuzzy) { // RFC 6203 §4
		d.fail("RELEVANCY needs FUZZY")
	}
}

func joinKeys(keys []SearchKey) SearchKey {
	if len(keys) == 1 {
		return keys[0]
	}
	return andKey(keys...)
}

func (d *decoder) charset() {
	name := d.expectAString("character set")
	switch {
	case d.r.accept: // RFC 6855 §3
		d.fail("CHARSET is not possible with UTF8=ACCEPT")
	case !isCharset(name):
		d.badCharset()
	}
}

func isCharset(name string) bool {
	return strings.EqualFold(name, "UTF-8") || strings.EqualFold(name, "US-ASCII")
}

// searchWord takes the word that a key begins with; a sequence set or a
// parenthesis is none.
func (d *decoder) searchWord() string {
	if c, _ := d.peek(); c >= '0' && c <= '9' {
		return ""
	}
	return d.takeWord()
}

// searchKey reads the key that begins with a word, which has been read.
func (d *decoder) searchKey(word string) SearchKey {
	d.enter()
	defer d.leave()
	if word == "" {
		return d.plainKey()
	}
	for _, row := range SearchKeys {
		if row.Name != word {
			continue
		}
		d.use(row.Cap)
		if row.parse != nil {
			return row.parse(d)
		}
		return d.combinedKey(row)
	}
	d.fail("unknown search key")
	return SearchKey{}
}

// plainKey reads the keys that have no name: a sequence set, keys in
// parentheses.
func (d *decoder) plainKey() SearchKey {
	if next, _ := d.peek(); next != '(' {
		return SearchKey{Op: SearchSeq, SeqSet: d.expectSeqSet()}
	}
	var keys []SearchKey
	d.list(func() { keys = append(keys, d.searchKey(d.searchWord())) })
	if len(keys) == 0 {
		d.fail("search key expected")
		return SearchKey{}
	}
	return joinKeys(keys)
}

func (d *decoder) combinedKey(row SearchRow) SearchKey {
	k := SearchKey{Op: SearchOp(row.Name)}
	for range row.keys {
		d.expectSP()
		k.Keys = append(k.Keys, d.searchKey(d.searchWord()))
	}
	return k
}

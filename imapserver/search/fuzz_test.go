package search

import (
	"context"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/oracle"
	"mailstead/imapserver/wire"
)

// parsed reads the criteria of a SEARCH.
func parsed(criteria string) (wire.SearchKey, bool) {
	limits := wire.PostAuth
	r := wire.NewReader(strings.NewReader("a SEARCH "+criteria+"\r\n"), wire.NewWriter(&strings.Builder{}), &limits)
	req, err := r.ReadCommand(wire.Selected)
	if err != nil {
		return wire.SearchKey{}, false
	}
	c, ok := req.Command.(*wire.Search)
	if !ok {
		return wire.SearchKey{}, false
	}
	return c.Key, true
}

// FuzzProgram runs any criteria on any message: NOT finds what they do not, twice
// the same is the same, and a message that has been asked about knows its answer.
func FuzzProgram(f *testing.F) {
	for _, s := range []string{
		"ALL", "OR SEEN NOT (DELETED 1:*)", "TEXT strasse BODY words", "HEADER X-Empty \"\" SUBJECT caf", "FROM {3+}\r\nJur",
		"SENTSINCE 1-Apr-2025 SENTBEFORE 3-Apr-2025 ON 2-Apr-2025", "LARGER 10 SMALLER 10000 UID 30 3", "FUZZY TEXT x OLDER 5 YOUNGER 1000000000",
		"CHARSET UTF-8 KEYWORD $Work UNKEYWORD z", strings.Repeat("NOT ", 100) + "ALL", "EMAILID Mx SAVEDBEFORE 1-Jan-2027",
	} {
		f.Add(s, letter)
	}
	f.Add("TEXT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "Subject: x\r\n\r\n"+strings.Repeat("a", 5000))
	frame := Frame{Seq: 5, UID: 50, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	f.Fuzz(func(t *testing.T, criteria, raw string) {
		key, ok := parsed(criteria)
		if !ok || strings.HasPrefix(strings.ToUpper(criteria), "RETURN") {
			return
		}
		match := func(k wire.SearchKey) bool {
			var found bool
			oracle.Cost(t, len(criteria)+len(raw)*(1+strings.Count(criteria, " ")), func() {
				var err error
				m := now
				if found, err = Compile(k, frame).Match(context.Background(), &m, &source{raw: raw}); err != nil {
					t.Fatal(err)
				}
			})
			return found
		}
		found := match(key)
		if match(keys(wire.SearchNot, key)) == found {
			t.Errorf("%q and NOT of it both give %t for %q", criteria, found, raw)
		}
		if match(keys(wire.SearchOr, key, key)) != found || match(keys(wire.SearchAnd, key, key)) != found {
			t.Errorf("%q twice does not give %t for %q", criteria, found, raw)
		}
	})
}

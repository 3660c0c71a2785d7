package search

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// source is a message that counts how often it is asked.
type source struct {
	raw                  string
	sizes, headers, raws int
	err                  error
}

func (s *source) Size(context.Context) (int64, error) { s.sizes++; return int64(len(s.raw)), s.err }
func (s *source) Arrival(context.Context) (time.Time, string, error) {
	return time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC), "Mx", nil
}

func (s *source) Header(context.Context) ([]byte, error) {
	s.headers++
	head, _, _ := strings.Cut(s.raw, "\r\n\r\n")
	return []byte(head + "\r\n\r\n"), s.err
}
func (s *source) Raw(context.Context) ([]byte, error) { s.raws++; return []byte(s.raw), s.err }

const letter = "Date: Tue, 1 Apr 2025 23:30:00 -0500\r\n" +
	"From: =?utf-8?q?J=C3=BCrgen?= <Jurgen@Example.ORG>\r\n" +
	"Subject: Re: =?iso-8859-1?q?Caf=E9?= and\r\n tea\r\n" +
	"X-Empty:\r\n" +
	"Received: one\r\n" +
	"Received: two\r\n" +
	"Content-Type: multipart/mixed; boundary=x\r\n" +
	"\r\n" +
	"preamble\r\n" +
	"--x\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"Content-Transfer-Encoding: base64\r\n" +
	"\r\n" +
	"U3RyYcOfZSBpbiBNw7xuY2hlbg==\r\n" +
	"--x\r\n" +
	"Content-Type: message/rfc822\r\n" +
	"\r\n" +
	"Subject: inner topic\r\n" +
	"\r\n" +
	"inner words\r\n" +
	"--x\r\n" +
	"Content-Type: application/octet-stream; name=report.pdf\r\n" +
	"\r\n" +
	"binary words\r\n" +
	"--x--\r\n"

var now = Message{
	Seq: 3, UID: 30, Flags: []imap.Flag{imap.FlagSeen, "$Work"}, Recent: true,
	InternalDate: time.Date(2025, 4, 2, 0, 30, 0, 0, time.FixedZone("", 7200)),
}

func text(op wire.SearchOp, s string) wire.SearchKey { return wire.SearchKey{Op: op, Text: s} }
func header(name, s string) wire.SearchKey {
	return wire.SearchKey{Op: wire.SearchHeader, Header: name, Text: s}
}
func flag(f imap.Flag) wire.SearchKey { return wire.SearchKey{Op: wire.SearchFlag, Flag: f} }
func date(op wire.SearchOp, y int, m time.Month, d int) wire.SearchKey {
	return wire.SearchKey{Op: op, Date: time.Date(y, m, d, 0, 0, 0, 0, time.UTC)}
}
func size(op wire.SearchOp, n int) wire.SearchKey { return wire.SearchKey{Op: op, Size: int64(n)} }
func keys(op wire.SearchOp, k ...wire.SearchKey) wire.SearchKey {
	return wire.SearchKey{Op: op, Keys: k}
}
func seq(r ...imap.SeqRange) wire.SearchKey {
	return wire.SearchKey{Op: wire.SearchSeq, SeqSet: r}
}
func uid(r ...imap.UIDRange) wire.SearchKey {
	return wire.SearchKey{Op: wire.SearchUID, UIDSet: r}
}

func TestMatch(t *testing.T) {
	yes, no := keys(wire.SearchAll), keys(wire.SearchNot, keys(wire.SearchAll))
	for _, c := range []struct {
		name string
		key  wire.SearchKey
		want bool
	}{
		{"all", yes, true},
		{"not all", no, false},
		{"and", keys(wire.SearchAnd, yes, yes), true},
		{"and, one not", keys(wire.SearchAnd, yes, no), false},
		{"or", keys(wire.SearchOr, no, yes), true},
		{"or, none", keys(wire.SearchOr, no, no), false},

		{"flag", flag(imap.FlagSeen), true},
		{"flag in other case", flag(`\SEEN`), true},
		{"keyword in other case", flag("$work"), true},
		{"flag not set", flag(imap.FlagDeleted), false},
		{"recent", keys(wire.SearchRecent), true},

		{"seq", seq(imap.SeqRange{Start: 3, Stop: 3}), true},
		{"seq below", seq(imap.SeqRange{Start: 1, Stop: 2}), false},
		{"seq *", seq(imap.SeqRange{Start: 0, Stop: 0}), false},
		{"seq 4:*", seq(imap.SeqRange{Start: 4, Stop: 0}), false},
		{"seq 1:*", seq(imap.SeqRange{Start: 1, Stop: 0}), true},
		{"seq *:2, the other way", seq(imap.SeqRange{Start: 0, Stop: 2}), true},
		{"seq unsorted and overlapping", seq(imap.SeqRange{Start: 9, Stop: 9}, imap.SeqRange{Start: 1, Stop: 8}, imap.SeqRange{Start: 2, Stop: 2}), true},
		{"uid", uid(imap.UIDRange{Start: 30, Stop: 30}), true},
		{"uid 31:*", uid(imap.UIDRange{Start: 31, Stop: 0}), false},
		{"uid 1:29,31", uid(imap.UIDRange{Start: 1, Stop: 29}, imap.UIDRange{Start: 31, Stop: 31}), false},

		{"on the day in its zone", date(wire.SearchOn, 2025, 4, 2), true},
		{"on the day in UTC", date(wire.SearchOn, 2025, 4, 1), false},
		{"before the day", date(wire.SearchBefore, 2025, 4, 2), false},
		{"before the next", date(wire.SearchBefore, 2025, 4, 3), true},
		{"since the day", date(wire.SearchSince, 2025, 4, 2), true},
		{"since the next", date(wire.SearchSince, 2025, 4, 3), false},
		{"before a later month with an earlier day", date(wire.SearchBefore, 2025, 5, 1), true},
		{"since an earlier year with a later month", date(wire.SearchSince, 2024, 12, 31), true},
		{"sent on the day in its zone", date(wire.SearchSentOn, 2025, 4, 1), true},
		{"sent before", date(wire.SearchSentBefore, 2025, 4, 1), false},
		{"sent since", date(wire.SearchSentSince, 2025, 4, 1), true},

		{"larger", size(wire.SearchLarger, len(letter)-1), true},
		{"larger than itself", size(wire.SearchLarger, len(letter)), false},
		{"smaller", size(wire.SearchSmaller, len(letter)+1), true},
		{"smaller than itself", size(wire.SearchSmaller, len(letter)), false},

		{"header", header("From", "example.org"), true},
		{"header decoded", header("FROM", "JÜRGEN"), true},
		{"header without accent", header("from", "jurgen <"), false},
		{"header folded", header("Subject", "café and tea"), true},
		{"header as encoded", header("Subject", "=E9"), false},
		{"header there", header("X-Empty", ""), true},
		{"header not there", header("X-None", ""), false},
		{"header empty, not found", header("X-Empty", "x"), false},
		{"header second", header("Received", "TWO"), true},
		{"header of a part", header("Subject", "inner"), false},
		{"header across fields", header("Received", "onetwo"), false},

		{"body", text(wire.SearchBody, "MÜNCHEN"), true},
		{"body decomposed", text(wire.SearchBody, "mu\u0308nchen"), true},
		{"body as encoded", text(wire.SearchBody, "U3Ry"), false},
		{"body of embedded message", text(wire.SearchBody, "INNER WORDS"), true},
		{"header of embedded message", text(wire.SearchBody, "inner topic"), true},
		{"name of an attachment", text(wire.SearchBody, "report.pdf"), true},
		{"attachment", text(wire.SearchBody, "binary"), false},
		{"body does not have the header", text(wire.SearchBody, "tea"), false},
		{"body across parts", text(wire.SearchBody, "münchencontent"), false},
		{"body empty", text(wire.SearchBody, ""), true},
		{"text has the header", text(wire.SearchText, "subject: re: CAFÉ and tea"), true},
		{"text has the body", text(wire.SearchText, "straße"), true},
		{"text has neither", text(wire.SearchText, "coffee"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Compile(c.key, Frame{Seq: 5, UID: 50})
			for range 2 { // a program starts anew with each message
				have, err := p.Match(t.Context(), &now, &source{raw: letter})
				if err != nil || have != c.want {
					t.Errorf("have %v, %v; want %v", have, err, c.want)
				}
				other, err := p.Match(t.Context(), &Message{}, &source{raw: "\r\n"})
				if err != nil {
					t.Errorf("empty message: %v, %v", other, err)
				}
			}
		})
	}
}

// TestFindings holds that a program keeps nothing of the message before.
func TestFindings(t *testing.T) {
	p := Compile(keys(wire.SearchOr, header("Subject", "a"), text(wire.SearchText, "q"), date(wire.SearchSentOn, 2025, 1, 1)), Frame{})
	for i, c := range []struct {
		raw  string
		want bool
	}{
		{"Subject: a\r\n\r\n", true},
		{"Subject: x\r\n\r\n", false},
		{"Subject: x\r\n\r\nq", true},
		{"Subject: x\r\n\r\n", false},
		{"Date: 1 Jan 2025 00:00 +0000\r\n\r\n", true},
		{"Subject: x\r\n\r\n", false},
	} {
		if have, err := p.Match(t.Context(), &now, &source{raw: c.raw}); have != c.want || err != nil {
			t.Errorf("message %d: %v, %v", i, have, err)
		}
	}
}

func TestNoDate(t *testing.T) {
	for _, op := range []wire.SearchOp{wire.SearchSentBefore, wire.SearchSentOn, wire.SearchSentSince} {
		p := Compile(date(op, 2025, 4, 1), Frame{})
		if have, err := p.Match(t.Context(), &now, &source{raw: "Subject: x\r\n\r\n"}); have || err != nil {
			t.Errorf("%s: %v, %v", op, have, err)
		}
	}
}

func TestEmptyMailbox(t *testing.T) {
	p := Compile(keys(wire.SearchOr, seq(imap.SeqRange{Start: 1, Stop: 0}), uid(imap.UIDRange{})), Frame{})
	if have, err := p.Match(t.Context(), &Message{Seq: 1, UID: 1}, &source{}); have || err != nil {
		t.Errorf("%v, %v", have, err)
	}
}

// TestReads holds that a message is read only where the answer hangs on it,
// and once.
func TestReads(t *testing.T) {
	miss, hit := flag(imap.FlagDeleted), flag(imap.FlagSeen)
	body, subject := text(wire.SearchBody, "straße"), header("Subject", "tea")
	large := size(wire.SearchLarger, 1)
	for _, c := range []struct {
		name                 string
		key                  wire.SearchKey
		sizes, headers, raws int
	}{
		{"and stops before the text", keys(wire.SearchAnd, body, subject, large, miss), 0, 0, 0},
		{"or stops before the text", keys(wire.SearchOr, body, hit), 0, 0, 0},
		{"size before text", keys(wire.SearchAnd, body, size(wire.SearchSmaller, 1)), 1, 0, 0},
		{"nested", keys(wire.SearchAnd, keys(wire.SearchNot, body), keys(wire.SearchOr, miss, miss)), 0, 0, 0},
		{"all of it", keys(wire.SearchAnd, body, text(wire.SearchText, "inner"), subject, large, date(wire.SearchSentOn, 2025, 4, 1), size(wire.SearchLarger, 2)), 1, 1, 1},
		{"the header", keys(wire.SearchAnd, subject, header("From", "org"), date(wire.SearchSentOn, 2025, 4, 1)), 0, 1, 0},
		{"the header stops before the text", keys(wire.SearchAnd, body, header("Subject", "coffee")), 0, 1, 0},
		{"empty string", text(wire.SearchText, ""), 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := &source{raw: letter}
			if _, err := Compile(c.key, Frame{}).Match(t.Context(), &now, src); err != nil {
				t.Fatal(err)
			}
			if src.sizes != c.sizes || src.headers != c.headers || src.raws != c.raws {
				t.Errorf("asked for size, header, message %d, %d, %d times; want %d, %d, %d", src.sizes, src.headers, src.raws, c.sizes, c.headers, c.raws)
			}
		})
	}
}

func TestFrame(t *testing.T) {
	saved := Frame{Saved: imap.UIDSet{{Start: 1, Stop: 9}, {Start: 30, Stop: 30}}}
	for _, c := range []struct {
		name  string
		op    wire.SearchOp
		age   time.Duration
		frame Frame
		want  bool
	}{
		{"saved", wire.SearchSaved, 0, saved, true},
		{"not saved", wire.SearchSaved, 0, Frame{Saved: imap.UIDSet{{Start: 1, Stop: 29}}}, false},
		{"nothing saved", wire.SearchSaved, 0, Frame{}, false},
		{"older", wire.SearchOlder, time.Minute, Frame{}, true},
		{"old to the second", wire.SearchOlder, time.Hour, Frame{}, true},
		{"not older", wire.SearchOlder, time.Hour + time.Second, Frame{}, false},
		{"younger", wire.SearchYounger, 2 * time.Hour, Frame{}, true},
		{"young to the second", wire.SearchYounger, time.Hour, Frame{}, true},
		{"not younger", wire.SearchYounger, time.Hour - time.Second, Frame{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.frame.Now = now.InternalDate.Add(time.Hour)
			p := Compile(wire.SearchKey{Op: c.op, Interval: c.age}, c.frame)
			if ok, err := p.Match(t.Context(), &now, &source{}); err != nil || ok != c.want {
				t.Errorf("have %v, %v", ok, err)
			}
			p.SetTime(now.InternalDate.Add(time.Hour * 24 * 365))
			if ok, _ := p.Match(t.Context(), &now, &source{}); c.op == wire.SearchYounger && ok {
				t.Error("still young after a year")
			}
		})
	}
}

func TestErrors(t *testing.T) {
	gone := errors.New("gone")
	for _, key := range []wire.SearchKey{
		text(wire.SearchBody, "x"), header("Subject", "x"), size(wire.SearchLarger, 1), date(wire.SearchSentOn, 2025, 4, 1),
		keys(wire.SearchNot, text(wire.SearchText, "x")),
		keys(wire.SearchOr, size(wire.SearchLarger, 1), text(wire.SearchText, "x")),
	} {
		if ok, err := Compile(key, Frame{}).Match(t.Context(), &now, &source{err: gone}); ok || !errors.Is(err, gone) {
			t.Errorf("%s: %v, %v", key.Op, ok, err)
		}
	}
}

// TestCancel holds that a search ends between two chunks of one message.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	src := canceller{cancel}
	p := Compile(text(wire.SearchBody, "never"), Frame{})
	if _, err := p.Match(ctx, &now, src); !errors.Is(err, context.Canceled) {
		t.Errorf("while reading: %v", err)
	}
	if _, err := Compile(keys(wire.SearchAll), Frame{}).Match(ctx, &now, src); !errors.Is(err, context.Canceled) {
		t.Errorf("before: %v", err)
	}
}

type canceller struct{ cancel func() }

func (c canceller) Arrival(context.Context) (time.Time, string, error) {
	return time.Time{}, "", nil
}
func (c canceller) Header(context.Context) ([]byte, error) { return nil, nil }

func (c canceller) Size(context.Context) (int64, error) { return 0, nil }
func (c canceller) Raw(context.Context) ([]byte, error) {
	c.cancel()
	return []byte("\r\n" + strings.Repeat("text ", chunk)), nil
}

package message

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// KeptFields is the fields of a header that the cache has of each message: those
// that Thunderbird, Apple Mail, Outlook, K-9, FairEmail, Evolution, mutt,
// Roundcube and SquirrelMail ask for to show a list, and those of ENVELOPE.
var KeptFields = NewFieldFilter([]string{
	"Bcc", "Cc", "Content-Class", "Content-Description", "Content-Disposition", "Content-Language", "Content-Transfer-Encoding",
	"Content-Type", "Date", "Delivered-To", "Disposition-Notification-To", "From", "Importance", "In-Reply-To", "Lines", "List-Archive",
	"List-Help", "List-ID", "List-Post", "List-Subscribe", "List-Unsubscribe", "List-Unsubscribe-Post", "Mail-Followup-To", "Mail-Reply-To",
	"Mailing-List", "Message-ID", "MIME-Version", "Newsgroups", "Organization", "Original-Recipient", "Precedence", "Priority", "References",
	"Reply-To", "Resent-Date", "Resent-From", "Return-Path", "Return-Receipt-To", "Sender", "Status", "Subject", "To", "User-Agent",
	"X-Draft-Info", "X-K9mail-Identity", "X-Label", "X-Mailer", "X-MSMail-Priority", "X-Original-To", "X-Priority", "X-Spam-Flag",
	"X-Spam-Level", "X-Spam-Score", "X-Spam-Status", "X-TUID", "X-Uniform-Type-Identifier", "X-Universally-Unique-Identifier",
}, true)

// FieldFilter takes fields out of headers by their names.
type FieldFilter struct {
	names  [][]string      // by their length
	many   map[string]bool // in lower case; in place of names, where there are too many to compare
	listed bool
}

// fewFields is how many names are compared one by one, those of one length alone.
const fewFields = 64

// NewFieldFilter keeps the fields whose names are listed, or those that are not.
func NewFieldFilter(names []string, listed bool) *FieldFilter {
	f := &FieldFilter{listed: listed}
	if len(names) > fewFields {
		f.many = make(map[string]bool, len(names))
		for _, n := range names {
			f.many[strings.ToLower(n)] = true
		}
		return f
	}
	for _, n := range names {
		for len(f.names) <= len(n) {
			f.names = append(f.names, nil)
		}
		f.names[len(n)] = append(f.names[len(n)], n)
	}
	return f
}

// Append adds the fields of a header that are kept, and the empty line after it
// if it has one.
func (f *FieldFilter) Append(dst, header []byte) []byte {
	rest := header
	for field := range rawFields(header) {
		name, _, _ := splitField(field)
		if f.has(name) == f.listed {
			dst = append(dst, field...)
		}
		rest = rest[len(field):]
	}
	return append(dst, rest...)
}

// Reader gives what Append adds, of a header however large: no more of it than some
// kilooctets is in memory, and a name beyond that is none.
func (f *FieldFilter) Reader(header io.Reader) io.Reader {
	return &fieldReader{filter: f, in: bufio.NewReaderSize(header, 16<<10)}
}

type fieldReader struct {
	filter *FieldFilter
	in     *bufio.Reader
	inside bool   // a line, of which the next piece is more
	begun  bool   // the first line is
	keep   bool   // what it is in
	rest   []byte // of a piece, for the next Read
}

func (r *fieldReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		piece, err := r.in.ReadSlice('\n') // or as much as there is room for
		if len(piece) == 0 {
			return 0, err
		}
		if folded := r.begun && (piece[0] == ' ' || piece[0] == '\t'); !r.inside && !folded {
			name, _, _ := splitField(piece)
			r.keep = len(trimBreak(piece)) == 0 || r.filter.has(name) == r.filter.listed
		}
		r.begun, r.inside = true, piece[len(piece)-1] != '\n'
		if r.keep {
			r.rest = piece
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (f *FieldFilter) has(name []byte) bool {
	if f.many != nil {
		return f.many[strings.ToLower(string(name))]
	}
	return len(name) < len(f.names) &&
		slices.ContainsFunc(f.names[len(name)], func(n string) bool { return equalFold(name, n) })
}

// Covers tells whether all that is asked for by these names is kept.
func (f *FieldFilter) Covers(names []string) bool {
	return f.listed && !slices.ContainsFunc(names, func(n string) bool { return !f.has([]byte(n)) })
}

// AppendKept adds the fields of the message's header that the cache has; it
// gives false for a header that is so large that not all of it is looked into.
func (m *Message) AppendKept(dst []byte) ([]byte, bool) {
	if m.root.fieldsEnd < m.root.body {
		return dst, false
	}
	return KeptFields.Append(dst, m.header(m.root)), true
}

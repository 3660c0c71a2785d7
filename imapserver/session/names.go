package session

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/unicode/norm"

	"mailstead/imapserver/store"
)

const (
	inbox     = "INBOX"
	delimiter = "."
	courier   = inbox + delimiter // the prefix that Courier gives its names
)

// namespace is the prefix of the personal namespace as NAMESPACE tells it: ""
// or "INBOX.". The store's names have none. Names of the other form are
// accepted too, and answered in that form, so that clients set up for Courier
// (whose names all begin with INBOX.) and clients set up for other servers both
// go on; they are a hidden alias, and no LIST shows them that does not ask for
// them.
//
// With the prefix "", a name that begins with INBOX. is the folder of that very
// name if there is one (its directory is .INBOX.x, which Courier shows as
// INBOX.INBOX.x), else the folder without the INBOX. in front. CREATE makes the
// latter; the former is made and reached as INBOX.INBOX.x with either prefix.
//
// With the prefix INBOX., a name with that prefix loses it, and a name without
// it is the store's.
type namespace string

// isInbox says that a name is INBOX, whose case does not count.
func isInbox(name string) bool { return strings.EqualFold(name, inbox) }

// cutCourier takes "INBOX." off the front of a name, in any case.
func cutCourier(name string) (string, bool) {
	if len(name) < len(courier) || !strings.EqualFold(name[:len(courier)], courier) {
		return name, false
	}
	return name[len(courier):], true
}

// candidates gives the store's names that a client's name may mean, likelier
// ones first; the last is the one to create.
func (ns namespace) candidates(client string) []string {
	if isInbox(client) {
		return []string{inbox}
	}
	bare, prefixed := cutCourier(client)
	switch {
	case !prefixed:
		return []string{client}
	case isInbox(bare) || bare == "": // ".INBOX" is no folder's name
		return nil
	case ns == courier:
		return []string{bare}
	}
	return []string{courier + bare, bare}
}

// target gives the store's name that a client's name would be created as.
func (ns namespace) target(client string) (string, error) {
	names := ns.candidates(client)
	if names == nil {
		return "", store.ErrName
	}
	return names[len(names)-1], nil
}

// resolve calls f with the store's name for a client's name. Where that may
// mean two mailboxes, it calls f with the second if there is not the first.
func (ns namespace) resolve(client string, f func(name string) error) error {
	err := error(store.ErrNotFound)
	for _, name := range ns.candidates(client) {
		if err = f(name); !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrName) {
			break
		}
	}
	return err
}

// canonical gives the client's name of a mailbox, alias the hidden one.
func (ns namespace) canonical(name string) string {
	if name == inbox {
		return name
	}
	return string(ns) + name
}

func (ns namespace) alias(name string) string {
	if _, prefixed := cutCourier(name); ns == courier && !prefixed || name == inbox {
		return name
	}
	return courier + name
}

// asksAlias says that a pattern of LIST asks for hidden names: with the prefix
// "" those that begin with INBOX., with the prefix INBOX. those that do not.
func (ns namespace) asksAlias(pattern string) bool {
	fixed := pattern
	if i := strings.IndexAny(pattern, "*%"); i >= 0 {
		fixed = pattern[:i]
	}
	if _, prefixed := cutCourier(fixed); prefixed || ns != courier {
		return prefixed && ns != courier
	}
	return len(fixed) >= len(courier) || !strings.EqualFold(fixed, courier[:len(fixed)])
}

// sharedPrefix is the prefix of the mailboxes of other users, as Courier has it: after
// it stands the user, whose INBOX that is, and then the rest of the name. LIST
// shows them to who asks for names that begin with "#".
const sharedPrefix = "#shared" + delimiter

// othersName is a user in such a name, where a dot would be the delimiter.
func othersName(user string) string { return strings.ReplaceAll(user, delimiter, " ") }

// canonicalOthers gives the client's name of a mailbox of another user.
func canonicalOthers(user, name string) string {
	if name == inbox {
		return sharedPrefix + othersName(user)
	}
	return sharedPrefix + othersName(user) + delimiter + name
}

// cutOthers parts the name of another user's mailbox in the user and the store's
// name; ok is false for other names. Where nothing is shared, all names are the
// user's own.
func (s *session) cutOthers(client string) (user, name string, ok bool) {
	rest, ok := strings.CutPrefix(client, sharedPrefix)
	if !ok || s.Others == nil {
		return "", "", false
	}
	user, name, below := strings.Cut(rest, delimiter)
	switch {
	case !below:
		name = inbox
	case isInbox(name):
		name = "" // which no mailbox has: INBOX has another name already
	}
	return strings.ReplaceAll(user, " ", delimiter), name, true
}

// asksOthers says that a pattern of LIST asks for mailboxes of other users.
func asksOthers(pattern string) bool {
	fixed := pattern
	if i := strings.IndexAny(pattern, "*%"); i >= 0 {
		fixed = pattern[:i]
	}
	return strings.HasPrefix(fixed, "#") && (strings.HasPrefix(fixed, sharedPrefix) || strings.HasPrefix(sharedPrefix, fixed))
}

// newName refuses a name for a mailbox that is not in Unicode's normal form C: to a
// client it would look like another one that it cannot tell from it (RFC 9051 §5.1,
// RFC 5198 §3). Mailboxes that are there stay what they are, and so does what is made
// below them.
func (s *session) newName(ctx context.Context, p place) error {
	for name := p.name; !norm.NFC.IsNormalString(name); {
		if s.AnyName || p.account.Exists(ctx, name) {
			return nil
		}
		i := strings.LastIndex(name, delimiter)
		if !norm.NFC.IsNormalString(name[i+1:]) {
			return no(imap.ResponseCodeCannot, "mailbox name is not in Unicode's normal form C")
		}
		name = name[:max(i, 0)]
	}
	return nil
}

// shown is a client's name as answers repeat it.
func shown(client string) string {
	if isInbox(client) {
		return inbox
	}
	if bare, ok := cutCourier(client); ok {
		return courier + bare
	}
	return client
}

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// errForeign says that another server's file has nothing to go on.
var errForeign = errors.New("the mailbox gets a new UIDVALIDITY")

// maxForeignUID is the highest UID, or UIDVALIDITY, that is taken over: one above came of
// a fault, and would leave too few.
const maxForeignUID = math.MaxUint32 - 1<<20

// foreign is what the files of one other server say of a mailbox.
type foreign struct {
	server   string
	file     string
	written  time.Time
	changed  int64  // ctime, ns
	digest   int64  // of the content
	validity uint32 // 0: it says nothing of UIDs
	next     imap.UID
	said     imap.UID            // next as the file has it
	uids     map[string]imap.UID // by base name
	fields   bool                // UIDs are those in the names, as mbsync puts them there
	far      map[uint32]uint32   // by the UIDs in the names; nil: they are the UIDs
	dropped  int                 // lines that could not be used
	known    int                 // messages here that it has, if that was counted

	keywords map[string][]string      // Courier's, by base name
	letters  *maildir.DovecotKeywords // Dovecot's, in the names
}

// uid gives the UID of the message with that base name, 0 for none.
func (f *foreign) uid(base string) imap.UID {
	if !f.fields {
		return f.uids[base]
	}
	n := maildir.MbsyncUID(base)
	if f.far != nil {
		n = f.far[n]
	}
	return imap.UID(n)
}

// number sets the UIDs of messages, as far as they are known, each at most
// once, and raises next above all of them. Where the end of a name has changed
// since, what is before that tells, if it is of one message on both sides.
func (f *foreign) number(fresh []numbered) {
	if f == nil || !f.fields && len(f.uids) == 0 {
		return
	}
	taken := make(map[imap.UID]bool, len(fresh))
	var rest []int
	for i := range fresh {
		uid := f.uid(fresh[i].base)
		if uid == 0 || uid > maxForeignUID || taken[uid] {
			rest = append(rest, i)
			continue
		}
		fresh[i].uid = uid
		taken[uid] = true
		f.next = max(f.next, uid+1)
	}
	if len(rest) == 0 || len(f.uids) == len(taken) {
		return
	}
	here := make(map[string]int)
	for _, i := range rest {
		here[maildir.UniqueName(fresh[i].base)]++
	}
	there := make(map[string]imap.UID)
	for base, uid := range f.uids {
		if name := maildir.UniqueName(base); here[name] == 1 && !taken[uid] {
			if there[name] != 0 {
				here[name] = 2 // of two messages
			}
			there[name] = uid
		}
	}
	for _, i := range rest {
		if name := maildir.UniqueName(fresh[i].base); here[name] == 1 {
			fresh[i].uid = there[name]
		}
	}
}

// says tells whether Courier's files are just what the snapshot is.
func (f *foreign) says(s *snapshot) bool {
	return f != nil && f.server == "Courier" && f.said == s.uidNext && len(f.uids) == s.len
}

// keywordsOf gives the keywords of a message, as far as they can be such. The
// letters in a name count here and never again: from the first contact on, the
// index has the keywords, and the letters stay as they are.
func (f *foreign) keywordsOf(base, suffix string) []string {
	var all []string
	if f != nil {
		all = append(all, f.keywords[base]...)
		if f.letters != nil {
			names, _ := f.letters.Of(suffix)
			all = append(all, names...)
		}
	}
	if (f == nil || f.uid(base) == 0 || f.fields) && maildir.MbsyncUID(base) != 0 && maildir.Forwarded(suffix) {
		all = append(all, string(imap.FlagForwarded))
	}
	var names []string
	for _, k := range all {
		if checkKeyword(k) == nil && len(names) < maxMsgKeywords {
			names = append(names, k)
		}
	}
	return names
}

// take sets the UIDs of a sound list.
func (f *foreign) take(db maildir.UIDDB) {
	f.validity, f.next, f.dropped = db.Validity, imap.UID(db.Next), db.Dropped
	f.said = f.next
	f.uids = make(map[string]imap.UID, len(db.Messages))
	for _, m := range db.Messages {
		f.uids[m.Base] = imap.UID(m.UID)
	}
}

// readFile reads one of the files, and notes when it was written.
func (f *foreign) readFile(mb *mailbox) ([]byte, error) {
	st, err := mb.folder.StatSidecar(maildir.BesideCur, f.file)
	if err != nil {
		return nil, err
	}
	f.written, f.changed = st.ModTime, st.Change.UnixNano()
	data, err := mb.folder.ReadSidecar(f.file)
	f.digest = digest(data)
	return data, err
}

// readCourier reads courierimapuiddb and courierimapkeywords.
func readCourier(mb *mailbox) (*foreign, error) {
	f := &foreign{server: "Courier", file: maildir.UIDDBFile}
	data, err := f.readFile(mb)
	if err != nil {
		return f, err
	}
	db, err := maildir.ParseUIDDB(data)
	if err != nil {
		return f, fmt.Errorf("%w: %w", errForeign, err)
	}
	f.take(db)
	f.keywords = mb.courierKeywords()
	return f, nil
}

// courierKeywords reads courierimapkeywords.
func (mb *mailbox) courierKeywords() map[string][]string {
	k, err := mb.folder.ReadKeywords()
	if err != nil {
		// Keywords are not worth a mailbox that cannot be opened.
		mb.a.log.Error("cannot read Courier's keywords", "error", err)
	}
	if k.Cut {
		mb.a.log.Warn("Courier's keywords are damaged; some are lost", "path", mb.path(), "file", maildir.KeywordsDir+"/"+maildir.KeywordsList)
	}
	return k.Lists
}

// readDovecot reads dovecot-uidlist and dovecot-keywords.
func readDovecot(mb *mailbox) (*foreign, error) {
	f := &foreign{server: "Dovecot", file: maildir.DovecotUIDListFile}
	data, err := f.readFile(mb)
	if err != nil {
		return f, err
	}
	db, err := maildir.ParseDovecotUIDList(data)
	if err != nil {
		return f, fmt.Errorf("%w: %w", errForeign, err)
	}
	f.take(db)
	f.letters = mb.dovecotLetters()
	return f, nil
}

// dovecotLetters reads dovecot-keywords.
func (mb *mailbox) dovecotLetters() *maildir.DovecotKeywords {
	data, err := mb.folder.ReadSidecar(maildir.DovecotKeywordsFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			mb.a.log.Error("cannot read Dovecot's keywords", "error", err)
		}
		return nil
	}
	letters, dropped := maildir.ParseDovecotKeywords(data)
	if dropped > 0 {
		mb.a.log.Warn("Dovecot's keywords are damaged; letters whose lines cannot be used are lost",
			"path", mb.path(), "file", maildir.DovecotKeywordsFile, "lines", dropped)
	}
	return &letters
}

// readMbsync reads .uidvalidity and .mbsyncstate. Where it can be told which
// UIDs the messages had on the server that they come from, they keep these:
// its clients know the messages by them.
func readMbsync(mb *mailbox) (*foreign, error) {
	f := &foreign{server: "mbsync", file: maildir.MbsyncUIDFile, fields: true}
	data, err := f.readFile(mb)
	if err != nil {
		return f, err
	}
	near, err := maildir.ParseMbsyncUIDs(data)
	if err != nil {
		return f, fmt.Errorf("%w: %w", errForeign, err)
	}
	f.validity, f.next = near.Validity, imap.UID(near.Next)
	data, err = mb.folder.ReadSidecar(maildir.MbsyncStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	state, err := maildir.ParseMbsyncState(data)
	if err == nil && state.NearValidity != near.Validity {
		err = fmt.Errorf("it is of the uidvalidity %d, and the messages have %d", state.NearValidity, near.Validity)
	}
	if err != nil {
		mb.a.log.Error("mbsync's state is of no use; messages have the UIDs in their names",
			"path", mb.path(), "file", maildir.MbsyncStateFile, "error", err)
		return f, nil
	}
	f.file = maildir.MbsyncStateFile
	f.validity, f.next, f.far, f.dropped = state.FarValidity, imap.UID(state.FarNext), state.Far, state.Dropped
	return f, nil
}

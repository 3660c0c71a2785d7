package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/store"
)

// mailState is all that a client can learn of an account.
type mailState struct {
	Boxes      map[string]boxState
	Subscribed []string
}

type boxState struct {
	UIDValidity uint32
	UIDNext     imap.UID
	Messages    map[imap.UID]messageState
}

type messageState struct {
	Flags  string // sorted; keywords too
	Date   int64
	Size   int64
	Digest string
}

func newMessageState(flags []imap.Flag, date time.Time, size int64, body []byte) messageState {
	var names []string
	for _, f := range flags {
		if f != `\Recent` {
			names = append(names, string(f))
		}
	}
	slices.Sort(names)
	sum := sha256.Sum256(body)
	return messageState{strings.Join(names, " "), date.Unix(), size, hex.EncodeToString(sum[:8])}
}

// traveller takes an account from Mailstead to another server and back.
type traveller struct {
	t    *testing.T
	rnd  *rand.Rand
	dir  string
	dial func() (*imapclient.Client, error)
	made int // names and messages so far

	prefix     string // what the server has before the names of mailboxes
	subscribed func(c *imapclient.Client) []string
	handback   func(a *store.Account) error
}

// newTraveller unpacks a fixture in a home and makes random choices.
func newTraveller(t *testing.T, home, fixture string) *traveller {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MAILSTEAD_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("MAILSTEAD_SEED=%d", seed)
	if out, err := exec.Command("tar", "-C", home, "--no-same-owner", "-xzpf", "testdata/"+fixture+".tar.gz").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return &traveller{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), dir: filepath.Join(home, "Maildir")}
}

// toCourier has the other server be Courier.
func toCourier(t *testing.T, fixture string) *traveller {
	t.Helper()
	dialogue.LabDir(t)
	home := t.TempDir()
	tr := newTraveller(t, home, fixture)
	tr.prefix, tr.subscribed = "INBOX.", tr.courierSubscribed
	tr.handback = func(a *store.Account) error { _, err := a.Handback(context.Background(), false); return err }
	address := dialogue.StartCourier(t, dialogue.CourierUser{
		Name: "demo", Password: "secret", Home: home, UID: os.Getuid(), GID: os.Getgid(),
	})
	tr.dial = func() (*imapclient.Client, error) { return imapclient.DialInsecure(address, nil) }
	return tr
}

// TestCourierFromDovecot: what Dovecot has left is Courier's after a handback,
// under the names that Courier gives directories, but for an emoji.
func TestCourierFromDovecot(t *testing.T) {
	tr := toCourier(t, "dovecot-A")
	a := tr.open()
	want := tr.ours(a)
	want.Boxes["_ emoji"] = want.Boxes["😀 emoji"]
	delete(want.Boxes, "😀 emoji")
	if _, err := a.Handback(t.Context(), false); !errors.Is(err, store.ErrUnfit) {
		t.Errorf("handed back with an emoji: %v", err)
	}
	if _, err := a.Handback(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	tr.close(a)
	c := tr.login()
	defer c.Close()
	if diff := cmp.Diff(want, tr.theirs(c)); diff != "" {
		t.Errorf("we said (-), Courier says (+): %s", diff)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
	a = tr.open()
	if diff := cmp.Diff(want, tr.ours(a)); diff != "" {
		t.Errorf("it was (-), it is (+): %s", diff)
	}
	tr.close(a)
}

// TestCourierRoundTrip: after random changes by us Courier serves the same, and
// after random changes by Courier we do; three times.
func TestCourierRoundTrip(t *testing.T) {
	tr := toCourier(t, "courier-A")
	for round := range 3 {
		tr.round(round == 0)
	}
}

// round is a turn of ours and one of the other server's.
func (tr *traveller) round(handback bool) {
	ours := tr.ourTurn(handback)
	if tr.t.Failed() {
		return
	}
	theirs := tr.theirTurn(ours)
	if tr.t.Failed() {
		return
	}
	a := tr.open()
	if diff := cmp.Diff(theirs, tr.ours(a)); diff != "" {
		tr.t.Fatalf("they said (-), we say (+): %s", diff)
	}
	tr.close(a)
}

func (tr *traveller) open() *store.Account {
	tr.t.Helper()
	log := slog.New(slog.NewTextHandler(logWriter{tr.t}, nil))
	a, err := store.Open(context.Background(), store.Options{Maildir: tr.dir, Log: log, Courier: tr.prefix != ""})
	if err != nil {
		tr.t.Fatal(err)
	}
	return a
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("log: %s", p)
	return len(p), nil
}

func (tr *traveller) close(a *store.Account) {
	tr.t.Helper()
	if err := a.Close(); err != nil {
		tr.t.Fatal(err)
	}
}

// ourTurn changes the account at random and hands it back. It gives what it is
// then. One that is stopped without a handback must be right, too.
func (tr *traveller) ourTurn(handback bool) mailState {
	a := tr.open()
	for range 60 {
		tr.ourStep(a)
	}
	if handback {
		if err := tr.handback(a); err != nil {
			tr.t.Fatal(err)
		}
	}
	// Mail in new has no UID for Courier yet.
	s := tr.ours(a)
	tr.close(a)
	return s
}

// ours asks us.
func (tr *traveller) ours(a *store.Account) mailState {
	ctx := context.Background()
	list, err := a.List(ctx)
	if err != nil {
		tr.t.Fatal(err)
	}
	s := mailState{Boxes: make(map[string]boxState)}
	for _, e := range list {
		if e.Subscribed {
			s.Subscribed = append(s.Subscribed, e.Name)
		}
		if !e.Selectable {
			continue
		}
		v, err := a.Select(ctx, e.Name, false)
		if err != nil {
			tr.t.Fatal(err)
		}
		b := boxState{v.UIDValidity(), v.UIDNext(), make(map[imap.UID]messageState)}
		for n := store.SeqNum(1); int(n) <= v.Len(); n++ {
			m := v.At(n)
			body, err := v.Read(ctx, n)
			if err != nil {
				tr.t.Fatal(err)
			}
			size, err := v.Size(ctx, n)
			if err != nil {
				tr.t.Fatal(err)
			}
			b.Messages[m.UID] = newMessageState(m.Flags, m.InternalDate, size, body)
		}
		v.Close()
		s.Boxes[e.Name] = b
	}
	slices.Sort(s.Subscribed)
	return s
}

// theirTurn compares what the other server says, then has it change the account at
// random and gives what it says then.
func (tr *traveller) theirTurn(want mailState) mailState {
	c := tr.login()
	defer c.Close()
	if diff := cmp.Diff(want, tr.theirs(c)); diff != "" {
		tr.t.Errorf("we said (-), they say (+): %s", diff)
		return want
	}
	for range 40 {
		tr.theirStep(c)
	}
	tr.theirManage(c)
	s := tr.theirs(c)
	if err := c.Logout().Wait(); err != nil {
		tr.t.Error(err)
	}
	return s
}

func (tr *traveller) login() *imapclient.Client {
	c, err := tr.dial()
	if err == nil {
		err = c.Login("demo", "secret").Wait()
	}
	if err != nil {
		tr.t.Fatal(err)
	}
	return c
}

// theirName and ourName translate: Courier has every mailbox below INBOX.
func (tr *traveller) theirName(name string) string {
	if name == "INBOX" {
		return name
	}
	return tr.prefix + name
}

func (tr *traveller) ourName(name string) string { return strings.TrimPrefix(name, tr.prefix) }

// theirs asks the other server.
func (tr *traveller) theirs(c *imapclient.Client) mailState {
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		tr.t.Fatal(err)
	}
	s := mailState{Boxes: make(map[string]boxState)}
	for _, e := range list {
		if !slices.Contains(e.Attrs, imap.MailboxAttrNoSelect) {
			s.Boxes[tr.ourName(e.Mailbox)] = tr.theirBox(c, e.Mailbox)
		}
	}
	s.Subscribed = tr.subscribed(c)
	slices.Sort(s.Subscribed)
	return s
}

func (tr *traveller) courierSubscribed(*imapclient.Client) (names []string) {
	data, err := os.ReadFile(filepath.Join(tr.dir, "courierimapsubscribed"))
	if err != nil {
		tr.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name := tr.ourName(strings.TrimSpace(line)); name[0] != '#' {
			names = append(names, name)
		}
	}
	return names
}

func (tr *traveller) theirBox(c *imapclient.Client, name string) boxState {
	sel, err := c.Select(name, nil).Wait()
	if err != nil {
		tr.t.Fatalf("SELECT %s: %v", name, err)
	}
	b := boxState{UIDValidity: sel.UIDValidity, Messages: make(map[imap.UID]messageState)}
	if sel.NumMessages > 0 {
		section := &imap.FetchItemBodySection{Peek: true}
		all, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{
			UID: true, Flags: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section},
		}).Collect()
		if err != nil {
			tr.t.Fatalf("FETCH %s: %v", name, err)
		}
		for _, m := range all {
			b.Messages[m.UID] = newMessageState(m.Flags, m.InternalDate, m.RFC822Size, m.FindBodySection(section))
		}
	}
	st, err := c.Status(name, &imap.StatusOptions{UIDNext: true}).Wait()
	if err != nil {
		tr.t.Fatalf("STATUS %s: %v", name, err)
	}
	b.UIDNext = st.UIDNext
	return b
}

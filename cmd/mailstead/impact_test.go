package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/schema"
)

// peopleOf makes virtual users of names and password hashes.
func peopleOf(pairs ...string) (users []schema.User) {
	for i := 0; i < len(pairs); i += 2 {
		users = append(users, schema.User{Name: pairs[i], Maildir: "/var/vmail/" + pairs[i] + "/Maildir",
			Virtual: &schema.VirtualUser{PasswordHash: schema.Secret(pairs[i+1])}})
	}
	return users
}

func TestAffected(t *testing.T) {
	imap := schema.Listener{Name: "imap", Port: 143, TLS: schema.STARTTLS}
	imaps := schema.Listener{Name: "imaps", Port: 993, TLS: schema.Implicit}
	base := schema.Host{Listeners: []schema.Listener{imap, imaps}, Users: peopleOf("alice", "a", "bob", "b", "carol", "c")}
	for name, test := range map[string]struct {
		change func(h *schema.Host)
		want   reconcile.People
	}{
		"nothing":  {func(*schema.Host) {}, reconcile.People{Users: 3}},
		"new user": {func(h *schema.Host) { h.Users = append(h.Users, peopleOf("dave", "d")...) }, reconcile.People{Users: 4}},
		"users vanish": {func(h *schema.Host) { h.Users = h.Users[1:2] },
			reconcile.People{Users: 1, Vanish: []string{"alice", "carol"}}},
		"nobody is left, so that nobody loses a listener": {func(h *schema.Host) { h.Users, h.Listeners = nil, nil },
			reconcile.People{Vanish: []string{"alice", "bob", "carol"}}},
		"a listener goes": {func(h *schema.Host) { h.Listeners = h.Listeners[:1] },
			reconcile.People{Users: 3, Lost: []reconcile.Loss{{What: "the listener imaps (:993)", Users: 3}}}},
		"a listener moves": {func(h *schema.Host) { h.Listeners[1].Port = 9993 },
			reconcile.People{Users: 3, Lost: []reconcile.Loss{{What: "the listener imaps at :993, which moves to :9993", Users: 3}}}},
		"TLS starts otherwise": {func(h *schema.Host) { h.Listeners[0].TLS = schema.Implicit },
			reconcile.People{Users: 3, Lost: []reconcile.Loss{{What: `the listener imap with "starttls", which becomes "implicit"`, Users: 3}}}},
		"a login method goes": {func(h *schema.Host) { h.Listeners[0].Capabilities.Off = []string{"IDLE", "AUTH=LOGIN"} },
			reconcile.People{Users: 3, Lost: []reconcile.Loss{{What: "the login method AUTH=LOGIN on the listener imap", Users: 3}}}},
		"who vanishes loses no listener besides": {func(h *schema.Host) { h.Users, h.Listeners = h.Users[:2], h.Listeners[:1] },
			reconcile.People{Users: 2, Vanish: []string{"carol"}, Lost: []reconcile.Loss{{What: "the listener imaps (:993)", Users: 2}}}},
		"another password": {func(h *schema.Host) { h.Users[1].Virtual = &schema.VirtualUser{PasswordHash: "x"} },
			reconcile.People{Users: 3, Password: []string{"bob"}}},
		"an account of the host in place of a password": {func(h *schema.Host) { h.Users[1].Virtual, h.Users[1].System = nil, &schema.SystemUser{} },
			reconcile.People{Users: 3, Password: []string{"bob"}, Moved: []string{"bob"}}},
		"elsewhere": {func(h *schema.Host) { h.Users[0].Elsewhere = "imap://x" }, reconcile.People{Users: 3, Elsewhere: []string{"alice"}}},
		"another place for mail": {func(h *schema.Host) { h.Users[2].Maildir = "/srv/carol/Maildir" },
			reconcile.People{Users: 3, Moved: []string{"carol"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := base
			want.Users, want.Listeners = append([]schema.User(nil), base.Users...), append([]schema.Listener(nil), base.Listeners...)
			test.change(&want)
			test.want.Were = 3
			if diff := cmp.Diff(&test.want, affected(&base, &want)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	served := control.Status{Sessions: 5, On: map[string]int{"imap": 2, "imaps": 3, "idle": 0}}
	daemon := func(pairs ...string) *reconcile.Resource {
		r := &reconcile.Resource{}
		for i := 0; i < len(pairs); i += 2 {
			r.Attrs = append(r.Attrs, reconcile.Attr{Name: "listener " + pairs[i], Value: pairs[i+1]})
		}
		return r
	}
	move := reconcile.Change{Impact: reconcile.Rebind, Have: daemon("imap", ":143", "imaps", ":993"), Want: daemon("imap", ":143", "imaps", ":9993")}
	gone := reconcile.Change{Impact: reconcile.Rebind, Have: daemon("imap", ":143", "imaps", ":993"), Want: daemon("imaps", ":993")}
	for name, test := range map[string]struct {
		changes []reconcile.Change
		want    reconcile.Sessions
	}{
		"reload":       {[]reconcile.Change{{Impact: reconcile.Reload}, {Impact: reconcile.Data}}, reconcile.Sessions{}},
		"restart":      {[]reconcile.Change{{Impact: reconcile.Live}, {Impact: reconcile.Restart}}, reconcile.Sessions{All: true, End: 5, On: map[string]int{"imap": 2, "imaps": 3}}},
		"rebind":       {[]reconcile.Change{move}, reconcile.Sessions{End: 3, On: map[string]int{"imaps": 3}}},
		"goes":         {[]reconcile.Change{gone}, reconcile.Sessions{End: 2, On: map[string]int{"imap": 2}}},
		"both at once": {[]reconcile.Change{move, {Impact: reconcile.Restart}}, reconcile.Sessions{All: true, End: 5, On: map[string]int{"imap": 2, "imaps": 3}}},
	} {
		if diff := cmp.Diff(test.want, ended(test.changes, served)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestBrake(t *testing.T) {
	for _, test := range []struct {
		were, gone, users int // users: in the description
		confirmed         int
		boot              bool
		want              string // "" is not refused
	}{
		{1, 1, 1, 0, false, ""}, // one in the place of another
		{3, 2, 1, 0, false, ""},
		{20, 2, 18, 0, false, ""},
		{20, 3, 17, 0, false, "3 of 20 users vanish from the description"},
		{1000, 50, 950, 0, false, ""},
		{1000, 51, 949, 0, false, "51 of 1000 users vanish"},
		{1000, 51, 949, 51, false, ""},
		{1000, 51, 949, 50, false, "51 of 1000 users vanish from the description, not 50"},
		{1000, 2, 998, 3, false, "not 3"}, // the command is about another list
		{1000, 0, 1000, 51, false, ""},    // it has been done
		{1, 1, 0, 0, false, "all 1 users vanish"},
		{0, 0, 0, 0, false, ""},
		{1, 1, 0, 1, false, ""},
		{1000, 900, 100, 0, true, "the host stays as it was"},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			p := &reconcile.People{Users: test.users, Were: test.were}
			for i := range test.gone {
				p.Vanish = append(p.Vanish, fmt.Sprint("user", i))
			}
			plan := &reconcile.Plan{Changes: []reconcile.Change{{Ref: reconcile.Ref{Kind: "password-file"}}}}
			err := brake(plan, p, confirmed{users: test.confirmed}, test.boot)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err != nil && (exitCodeOf(err) != exitFailed || !strings.Contains(strings.Join(hints(err), ""), removeFlag(p))) {
				t.Errorf("exit %d, hints %q", exitCodeOf(err), hints(err))
			}
			if err := brake(&reconcile.Plan{}, p, confirmed{}, false); err != nil {
				t.Errorf("a plan that takes nobody's login away: %v", err)
			}
		})
	}
}

// TestBrakeInboxes has mail removed from inboxes by who names their number alone.
func TestBrakeInboxes(t *testing.T) {
	old, young := reconcile.Inbox{User: "alice", Days: 365, Messages: 3}, reconcile.Inbox{User: "bob", Days: 365}
	for name, test := range map[string]struct {
		inboxes   []reconcile.Inbox
		unknown   string
		confirmed int
		boot      bool
		want      string // "" is not refused
	}{
		"none":               {nil, "the daemon is not running", 0, false, ""},
		"a number for none":  {nil, "", 2, false, ""}, // it has been done
		"nothing is removed": {[]reconcile.Inbox{young}, "", 0, false, ""},
		"removed":            {[]reconcile.Inbox{old, young}, "", 0, false, "removes mail from the inboxes of 2 users"},
		"not counted":        {[]reconcile.Inbox{young}, "the daemon is not running", 0, false, "from the inboxes of 1 user"},
		"named":              {[]reconcile.Inbox{old, young}, "", 2, false, ""},
		"another number":     {[]reconcile.Inbox{old, young}, "", 1, false, "2 users, not 1"},
		"another, of none":   {[]reconcile.Inbox{young}, "", 2, false, "1 user, not 2"},
		"at boot":            {[]reconcile.Inbox{old}, "", 0, true, "the host stays as it was"},
	} {
		p := &reconcile.People{Users: 2, Were: 2, Inboxes: test.inboxes, PurgesUnknown: test.unknown}
		plan := &reconcile.Plan{Changes: []reconcile.Change{{Ref: reconcile.Ref{Kind: "file", Name: "/var/lib/mailstead/purge.ndjson"}}}}
		err := brake(plan, p, confirmed{inboxes: test.confirmed}, test.boot)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && !strings.Contains(strings.Join(hints(err), ""), purgeFlag(p)) {
			t.Errorf("%s: hints %q", name, hints(err))
		}
		if err := brake(&reconcile.Plan{}, p, confirmed{}, false); err != nil {
			t.Errorf("%s: a plan that leaves the rules as they are: %v", name, err)
		}
	}
}

func TestWritePeople(t *testing.T) {
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("user%02d", i)
	}
	for _, test := range []struct {
		people reconcile.People
		want   string
	}{
		{reconcile.People{LastKnown: true}, "\nMail: no message is removed, and UIDVALIDITY changes in no folder.\n"},
		{reconcile.People{LastKnown: true, Users: 40, Were: 100, Vanish: many,
			Sessions: reconcile.Sessions{All: true, End: 5, On: map[string]int{"imaps": 3, "imap": 2}},
			Password: []string{"alice"}, Lost: []reconcile.Loss{{What: "the listener imaps (:993)", Users: 40}}}, `
People: the daemon is restarted, which ends every session: 5 now (2 on imap, 3 on imaps)
People: 60 users can no longer log in: user00, user01, user02, user03, user04, user05, user06, user07 and 52 more
People: 1 user logs in with another password: alice
People: 40 users will lose the listener imaps (:993)
Mail: no message is removed, and UIDVALIDITY changes in no folder.
Brake: 60 of 100 users vanish from the description; apply refuses that unless it is given --remove-users 60
`},
		{reconcile.People{Moved: []string{"bob"}, Sessions: reconcile.Sessions{All: true, Unknown: "permission denied"}}, `
People: the daemon is restarted, which ends every session; how many there are could not be asked: permission denied
People: who loses a way in is not known: what was applied last cannot be read
Mail: no message is removed; the mail of 1 user is looked for in another place, where folders have a UIDVALIDITY of their own: bob.
`},
		{reconcile.People{LastKnown: true, Moved: []string{"bob"}, MessagesRemoved: 3, Purges: []reconcile.Purge{{User: "alice", Folder: "Trash", Messages: 3}}}, `
Mail: new rules will remove 3 messages of 1 user, within a day: 3 of alice in Trash; the mail of 1 user is looked for in another place, where folders have a UIDVALIDITY of their own: bob.
`},
		{reconcile.People{LastKnown: true, MessagesRemoved: 3, Purges: []reconcile.Purge{{User: "alice", Folder: "INBOX", Messages: 3}},
			Inboxes: []reconcile.Inbox{{User: "alice", Days: 90, Messages: 3}, {User: "bob", Days: 365}}}, `
Mail: new rules will remove 3 messages of 1 user, within a day: 3 of alice in INBOX; UIDVALIDITY changes in no folder.
INBOX: mail in the inbox of 2 users will be removed, read or not, 90 days after it came in: alice; 365 days after it came in: bob; 3 messages within a day
Brake: a new rule removes mail from the inboxes of 2 users; apply refuses that unless it is given --purge-inboxes 2
`},
		{reconcile.People{LastKnown: true, PurgesUnknown: "the daemon is not running", Inboxes: []reconcile.Inbox{{User: "bob", Days: 365}}}, `
Mail: how many new rules will remove could not be counted: the daemon is not running; UIDVALIDITY changes in no folder.
INBOX: mail in the inbox of 1 user will be removed, read or not, 365 days after it came in: bob; how many within a day is not known
Brake: a new rule removes mail from the inboxes of 1 user; apply refuses that unless it is given --purge-inboxes 1
`},
	} {
		var out bytes.Buffer
		writePeople(&console{}, &out, &test.people)
		if diff := cmp.Diff(test.want, out.String()); diff != "" {
			t.Error(diff)
		}
	}
}

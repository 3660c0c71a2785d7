package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mailstead/imapserver/control"
)

// status is what the daemon serves.
func (s *Server) status(w http.ResponseWriter, q *request) {
	if a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminStatus}); ok {
		s.show(w, q, http.StatusOK, "status", view{Title: "Status", Fault: a.Error, Body: a.Status})
	}
}

// sessionsView is the sessions of a user, or of all.
type sessionsView struct {
	*Sessions        // nil: not known
	User      string // "": all
}

func (s *Server) listSessions(w http.ResponseWriter, q *request) {
	s.showSessions(w, q, http.StatusOK, q.query("user"), "")
}

// showSessions lists who is logged in, below a fault if there is one.
func (s *Server) showSessions(w http.ResponseWriter, q *request, status int, user, fault string) {
	if a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminSessions, Find: user}); ok {
		s.show(w, q, status, "sessions", view{Title: "Sessions", Fault: cmp.Or(fault, a.Error), Body: sessionsView{a.Sessions, user}})
	}
}

func (s *Server) endSession(w http.ResponseWriter, q *request) {
	id, user := q.PostFormValue("session"), q.value("user")
	a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminEndSession, Session: id})
	switch {
	case !ok:
	case a.Error != "":
		s.showSessions(w, q, http.StatusConflict, user, a.Error) // most likely it has ended by itself
	default:
		to := "/admin/sessions"
		if user != "" { // whose list it was ended in
			to += "?" + url.Values{"user": {user}}.Encode()
		}
		s.done(w, q, to, "The session "+id+" is ended.")
	}
}

func (s *Server) users(w http.ResponseWriter, q *request) {
	if a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminUsers, Find: q.query("find")}); ok {
		s.show(w, q, http.StatusOK, "users", view{Title: "Users", Fault: a.Error, Body: a.Users})
	}
}

// userView is a user with what can be proposed of them.
type userView struct {
	*control.Usage
	User *User
}

func (s *Server) user(w http.ResponseWriter, q *request) {
	name := q.PathValue("name")
	if len(name) > maxField {
		name = ""
	}
	found, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminUsers, Find: name})
	if !ok {
		return
	}
	v := userView{}
	if found.Users != nil {
		if i := slices.IndexFunc(found.Users.List, func(u User) bool { return u.Name == name }); i >= 0 {
			v.User = &found.Users.List[i]
		}
	}
	switch {
	case v.User != nil:
	case found.Error != "": // nobody knows
		s.refuse(w, q.Request, http.StatusServiceUnavailable, found.Error)
		return
	default:
		s.refuse(w, q.Request, http.StatusNotFound, "There is no such user.")
		return
	}
	if v.User.Sort != Elsewhere { // where no session says how much that is
		a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminUsage, Find: name})
		if !ok {
			return
		}
		if v.Usage = a.Usage; a.Error != "" { // such as of a user without QUOTA: the page is good without
			s.log.Warn("usage not known", "user", name, "err", a.Error)
		}
	}
	s.show(w, q, http.StatusOK, "user", view{Title: name, Body: v})
}

func (s *Server) drift(w http.ResponseWriter, q *request) {
	if a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminDrift}); ok {
		s.show(w, q, http.StatusOK, "drift", view{Title: "Drift", Fault: a.Error, Body: a.Drift})
	}
}

// hosts is every host of the description, as that has them: nobody asks the others.
func (s *Server) hosts(w http.ResponseWriter, q *request) {
	if a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminHosts}); ok {
		s.show(w, q, http.StatusOK, "hosts", view{Title: "Hosts", Fault: a.Error, Body: a.Hosts})
	}
}

func (s *Server) history(w http.ResponseWriter, q *request) {
	if a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminHistory}); ok {
		s.show(w, q, http.StatusOK, "history", view{Title: "History", Fault: a.Error, Body: a.History})
	}
}

// proposalView is a proposal with its diff by lines.
type proposalView struct {
	*Proposal
	Lines []line
}

// line is one of a diff.
type line struct{ Class, Text string }

func diffLines(text string) (lines []line) {
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		class := ""
		switch {
		case strings.HasPrefix(l, "+"):
			class = "add"
		case strings.HasPrefix(l, "-"):
			class = "del"
		}
		lines = append(lines, line{class, l})
	}
	return lines
}

// changeForm is the form that proposes a change, with what is typed into it already.
type changeForm struct {
	Form string
	Change
}

// propose shows what a change would do. Nothing is done yet. One that is refused can be
// mended where it was typed, but for its password, which is in no page and is not kept.
func (s *Server) propose(w http.ResponseWriter, q *request) {
	typed := Change{Kind: q.value("kind"), User: q.value("user"), Storage: q.value("storage"), Folder: q.value("folder")}
	c := typed
	c.Password = q.PostFormValue("password")
	s.beginWork(w, q, "Making the plan", AdminRequest{Do: AdminPropose, Change: &c}, func(w http.ResponseWriter, q *request, a AdminAnswer) {
		if a.Proposal == nil {
			s.show(w, q, http.StatusConflict, "notproposed", view{Title: "Not proposed", Fault: a.Error, Body: changeForm{q.form, typed}})
			return
		}
		s.showProposal(w, q, http.StatusOK, a)
	})
}

// showProposal shows a proposal, below what keeps it from being applied if there is that.
func (s *Server) showProposal(w http.ResponseWriter, q *request, status int, a AdminAnswer) {
	s.show(w, q, status, "proposal", view{Title: a.Proposal.Title, Fault: a.Error, Body: proposalView{a.Proposal, diffLines(a.Proposal.Diff)}})
}

// apply has a proposal carried out, for a code.
func (s *Server) apply(w http.ResponseWriter, q *request) {
	if !s.mayTry(w, q) {
		return
	}
	r := AdminRequest{Do: AdminApply, Proposal: q.value("proposal"), Code: q.value("code")}
	s.beginWork(w, q, "Applying the plan", r, func(w http.ResponseWriter, q *request, a AdminAnswer) {
		switch {
		case a.Proposal != nil: // it can be tried again
			s.showProposal(w, q, http.StatusConflict, a)
		case a.Outcome == nil:
			s.show(w, q, http.StatusConflict, "outcome", view{Title: "Not applied", Fault: a.Error, Body: &Outcome{}})
		case a.Outcome.Done:
			s.show(w, q, http.StatusOK, "outcome", view{Title: "Applied", Notice: a.Outcome.Title, Body: a.Outcome})
		case a.Outcome.Kept:
			s.show(w, q, http.StatusConflict, "outcome", view{Title: "Applied, but not to its end", Fault: a.Outcome.Fault, Body: a.Outcome})
		default:
			s.show(w, q, http.StatusConflict, "outcome", view{Title: "Not applied", Fault: a.Outcome.Fault, Body: a.Outcome})
		}
	})
}

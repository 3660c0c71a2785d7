package web

import (
	"errors"
	"mime"
	"net/http"

	"mailstead/imapserver/control"
	"mailstead/render/profile"
)

// accountView is what a user sees of their own logins.
type accountView struct {
	control.WebAnswer
	NewApp, NewName string // an app password that was just made, "" for one that was refused, and its name
	Settings, Apple bool   // there are settings for mail programs, and for Apple's too
}

func (s *Server) account(w http.ResponseWriter, q *request) {
	s.showAccount(w, q, http.StatusOK, accountView{}, "")
}

func (s *Server) showAccount(w http.ResponseWriter, q *request, status int, v accountView, fault string) {
	a, ok := s.asUserOf(w, q, control.WebRequest{Do: control.WebUser})
	if !ok {
		return
	}
	v.WebAnswer = a
	r := control.WebRequest{Do: control.WebUsage, Token: q.session.token, Remote: q.remote()}
	if u, err := s.auth(q.Context(), r); err == nil { // the page is good without
		v.Usage = u.Usage
	}
	if settings, err := profile.For(s.settings.ProfileHost(q.session.name), q.session.name); err == nil {
		v.Settings, v.Apple = true, settings.Outgoing != nil
	}
	s.show(w, q, status, "account", view{Title: "Your account", Fault: fault, Body: v})
}

func (s *Server) setPassword(w http.ResponseWriter, q *request) {
	password, fault := q.PostFormValue("new"), ""
	switch password {
	default:
		fault = "The new password is not the same twice."
	case q.PostFormValue("password"):
		fault = "The new password is the one that you have."
	case q.PostFormValue("again"):
	}
	if fault != "" {
		s.showAccount(w, q, http.StatusBadRequest, accountView{}, fault)
		return
	}
	if !s.mayTry(w, q) {
		return
	}
	a, ok := s.asUserOf(w, q, control.WebRequest{Do: control.WebPassword, Password: q.PostFormValue("password"), New: password})
	s.after(w, q, a, ok, accountView{}, "Your password is changed. Programs with the old one have to be told.")
}

// after says what came of a request to auth. One that was refused leads to the page again,
// with what was typed.
func (s *Server) after(w http.ResponseWriter, q *request, a control.WebAnswer, ok bool, typed accountView, notice string) {
	switch {
	case !ok:
	case a.Error != "":
		s.showAccount(w, q, http.StatusForbidden, typed, a.Error)
	default:
		s.done(w, q, "/account", notice)
	}
}

// addApp shows what was made in the answer itself, this once: it is kept nowhere.
func (s *Server) addApp(w http.ResponseWriter, q *request) {
	if !s.mayTry(w, q) {
		return
	}
	name := q.value("name")
	a, ok := s.asUserOf(w, q, control.WebRequest{Do: control.WebAddApp, Name: name, Password: q.PostFormValue("password")})
	if ok && a.Error == "" {
		s.showAccount(w, q, http.StatusOK, accountView{NewApp: a.App, NewName: name}, "")
		return
	}
	s.after(w, q, a, ok, accountView{NewName: name}, "")
}

func (s *Server) revokeApp(w http.ResponseWriter, q *request) {
	name := q.PostFormValue("name")
	a, ok := s.asUserOf(w, q, control.WebRequest{Do: control.WebRevokeApp, Name: name})
	s.after(w, q, a, ok, accountView{}, "The app password "+name+" is good no more.")
}

// settingsOf gives what the user's mail programs need to know.
func (s *Server) settingsOf(w http.ResponseWriter, q *request) (*profile.Settings, bool) {
	if _, ok := s.asUserOf(w, q, control.WebRequest{Do: control.WebUser}); !ok { // who may have been taken out of the description
		return nil, false
	}
	settings, err := profile.For(s.settings.ProfileHost(q.session.name), q.session.name)
	if err != nil {
		s.refuse(w, q.Request, http.StatusNotFound, "There are no settings for mail programs: "+err.Error())
		return nil, false
	}
	return settings, true
}

func (s *Server) mailSettings(w http.ResponseWriter, q *request) {
	settings, ok := s.settingsOf(w, q)
	if !ok {
		return
	}
	text, err := settings.Page()
	policy, fault := profile.PagePolicy()
	if err := errors.Join(err, fault); err != nil {
		s.refuse(w, q.Request, http.StatusNotFound, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Write(text)
}

func (s *Server) appleProfile(w http.ResponseWriter, q *request) {
	settings, ok := s.settingsOf(w, q)
	if !ok {
		return
	}
	text, err := settings.MobileConfig()
	if err != nil {
		s.refuse(w, q.Request, http.StatusNotFound, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-apple-aspen-config")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": s.settings.Host + ".mobileconfig"}))
	w.Write(text)
}

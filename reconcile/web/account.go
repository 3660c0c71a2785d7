package web

import (
	"net/http"

	"mailstead/imapserver/control"
)

// accountView is what a user sees of their own logins.
type accountView struct {
	control.WebAnswer
	NewApp, NewName string // an app password that was just made, and its name
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
	s.show(w, q, status, "account", view{Title: "Your account", Fault: fault, Body: v})
}

package web

import "net/http"

// status is how the host is served.
func (s *Server) status(w http.ResponseWriter, q *request) {
	a, ok := s.asAdminOf(w, q, AdminRequest{Do: AdminStatus})
	if ok {
		s.show(w, q, http.StatusOK, "status", view{Title: "Status", Fault: a.Error, Body: a.Status})
	}
}

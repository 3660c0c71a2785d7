package main

import (
	"bytes"
	"cmp"
	"fmt"
	"text/tabwriter"

	"mailstead/render/profile"
	"mailstead/schema"
)

// profileText is the settings for people at a terminal.
func profileText(s *profile.Settings) ([]byte, error) {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ADDRESS\t%s\n", visible(cmp.Or(s.Address, "those in "+s.Domain)))
	server := func(title, protocol string, srv profile.Server) {
		security := "STARTTLS"
		if srv.TLS == schema.Implicit {
			security = "TLS from the start"
		}
		login := "log in as " + visible(srv.User)
		switch {
		case srv.User == "" && s.Address == "":
			login = "the login is each user's"
		case srv.User == "":
			login = "no login"
		}
		fmt.Fprintf(w, "%s\t%s %s:%d, %s, %s\n", title, protocol, srv.Host, srv.Port, security, login)
	}
	for i, srv := range s.Incoming {
		server([]string{"INCOMING", ""}[min(i, 1)], "IMAP", srv)
	}
	if s.Outgoing != nil {
		server("OUTGOING", "SMTP", *s.Outgoing)
	} else {
		fmt.Fprintln(w, "OUTGOING\tthe description names no server for it (profiles: submission)")
	}
	for i, f := range s.Folders {
		fmt.Fprintf(w, "%s\t%s: %s\n", []string{"FOLDERS", ""}[min(i, 1)], f.Use, visible(f.Name))
	}
	err := w.Flush()
	return b.Bytes(), err
}

func profileJSON(s *profile.Settings) ([]byte, error) {
	var b bytes.Buffer
	err := writeJSON(&b, s)
	return b.Bytes(), err
}

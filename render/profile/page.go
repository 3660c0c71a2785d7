package profile

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// view is what the page shows.
type view struct {
	*Settings
	Style    template.CSS
	Incoming []serverView
	Outgoing *serverView
	Folders  []folderView
	Prefix   string
}

type serverView struct {
	Server
	Security string
	Login    string // what the name is, where it is not said
}

type folderView struct{ Word, Name string }

// useWords are the names of special uses for people, in the order of the page.
var useWords = []folderView{
	{"Sent", "sent"}, {"Drafts", "drafts"}, {"Junk", "junk"}, {"Trash", "trash"}, {"Archive", "archive"}, {"All mail", "all"}, {"Starred", "flagged"},
}

// Page is the settings for people, as an HTML document that needs nothing else: to
// read, or to print. PagePolicy is the policy under which it looks as it should.
func (s *Settings) Page() ([]byte, error) {
	style, err := pageStyle()
	if err != nil {
		return nil, err
	}
	t, err := template.ParseFS(pageFiles, "page/page.gohtml")
	if err != nil {
		return nil, fmt.Errorf("render page of settings: %w", err)
	}
	v := view{Settings: s, Style: template.CSS(style), Prefix: strings.TrimSuffix(s.Namespace, ".")}
	for _, srv := range s.Incoming {
		v.Incoming = append(v.Incoming, s.view(srv))
	}
	if s.Outgoing != nil {
		out := s.view(*s.Outgoing)
		v.Outgoing = &out
	}
	for _, w := range useWords {
		for _, f := range s.Folders {
			if f.Use == w.Name {
				v.Folders = append(v.Folders, folderView{w.Word, f.Name})
			}
		}
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "page.gohtml", v); err != nil {
		return nil, fmt.Errorf("render page of settings: %w", err)
	}
	return b.Bytes(), nil
}

func (s *Settings) view(srv Server) serverView {
	v := serverView{srv, tlsWord(srv, "TLS from the start (“SSL/TLS”)", "STARTTLS"), ""}
	switch {
	case srv.User != "":
	case s.Address != "" || srv.form == "":
		v.Login = "none"
	case srv.form == ByName:
		v.Login = "the part of your address before the “@”"
	case srv.form == ByAddress:
		v.Login = "your whole address"
	default:
		v.Login = "your address, or the part of it before the “@”"
	}
	return v
}

func pageStyle() ([]byte, error) { return pageFiles.ReadFile("page/page.css") }

// PagePolicy is the content security policy of the page: its one style, and
// nothing else.
func PagePolicy() (string, error) {
	style, err := pageStyle()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(style)
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nil
}

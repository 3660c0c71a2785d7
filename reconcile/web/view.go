package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/style.css
var styleSheet []byte

// htmx is https://htmx.org, unchanged; assets/htmx.LICENSE has its version and licence.
//
//go:embed assets/htmx.min.js
var htmx []byte

// shared are the templates that pages have in common: the frame around each, and the form
// that proposes a change.
var shared = []string{"templates/frame.html", "templates/change.html"}

// pages gives the templates of all pages, by name. Other commands have no use for them.
var pages = sync.OnceValue(parsePages)

func parsePages() map[string]*template.Template {
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // embedded
	}
	all := map[string]*template.Template{}
	for _, f := range files {
		if path := "templates/" + f.Name(); !slices.Contains(shared, path) {
			all[strings.TrimSuffix(f.Name(), ".html")] = template.Must(template.New("frame.html").Funcs(functions).ParseFS(templateFiles, append(shared, path)...))
		}
	}
	return all
}

// tab is a page that every page of admins has a link to.
type tab struct{ Path, Title string }

var tabs = []tab{{"/admin", "Status"}, {"/admin/sessions", "Sessions"}, {"/admin/users", "Users"}, {"/admin/hosts", "Hosts"}, {"/admin/drift", "Drift"}, {"/admin/history", "History"}}

var functions = template.FuncMap{
	"asset":    func(name string) string { return assets[name].path },
	"tabs":     func() []tab { return tabs },
	"day":      func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04") + " UTC" },
	"second":   func(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" },
	"size":     size,
	"join":     func(list []string) string { return strings.Join(list, ", ") },
	"count":    count,
	"messages": func(n int64) string { return count(int(n), "message") },
	"change":   func(form, kind, user string) changeForm { return changeForm{form, Change{Kind: kind, User: user}} },
}

// size writes a number of octets for people.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1000, 0
	for f >= 1000 && unit < len("kMGTP")-1 {
		f, unit = f/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTP"[unit])
}

// count says how many of something there are.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// view is what a page shows.
type view struct {
	Title  string
	Host   string
	As     sort   // "" before a login
	Name   string // who has logged in
	Form   string // for the hidden field of every form
	Here   string // the path of the page
	At     time.Time
	Notice string
	Fault  string
	Body   any
}

// show writes a page. It is made whole before the first octet of it is sent.
func (s *Server) show(w http.ResponseWriter, q *request, status int, page string, v view) {
	v.Host, v.Form, v.Here, v.At = s.settings.Host, q.form, q.URL.Path, s.now()
	if q.session != nil {
		v.As, v.Name = q.session.sort, q.session.name
		w.Header().Set("Content-Security-Policy", scriptPolicy)
	}
	if v.Notice == "" {
		v.Notice = q.notice
	}
	var b bytes.Buffer
	if err := pages()[page].Execute(&b, v); err != nil {
		s.log.Error("page not made", "page", page, "err", err)
		http.Error(w, "This page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// refuse answers with a page that says why, from which whoever has logged in can go on.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	s.show(w, s.looked(r), status, "refused", view{Title: http.StatusText(status), Fault: why})
}

package web

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"mailstead/imapserver/control"
)

// hostile are names as those give them who hope that somebody looks at them.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `javascript:alert(1)`, `</pre></main><form action="https://evil.example/">`,
	`"><b hx-get="/admin" hx-trigger="load">`, `" hx-on:click="alert(1)`, `<hx-partial hx-target="body">`, `<template hx type="partial">`, `#main, body`, `js:alert(1)`,
	"a\r\nSet-Cookie: x=y", "../../etc/passwd", "%3Cscript%3E", "\u202egnp.exe", "{{.Form}}", "<!--", "]]>", "&lt;b&gt;", "\x00", "a\xffb", strings.Repeat("<b>", 500),
}

// filled gives a value all of whose strings are that text.
func filled(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), text)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			filled(v.Index(i), text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[netip.Addr]() {
			return
		}
		for i := range v.NumField() {
			filled(v.Field(i), text)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 << 40)
	}
}

// bodies are what the pages show, by the name of their templates.
var bodies = map[string]any{
	"login": &loginView{}, "adminlogin": &loginView{}, "account": &accountView{}, "status": &Status{}, "sessions": &sessionsView{}, "users": &Users{}, "user": &userView{},
	"drift": &Drift{}, "history": &[]Past{}, "hosts": &[]Host{}, "work": &workView{}, "proposal": &proposalView{}, "outcome": &Outcome{}, "notproposed": &changeForm{}, "refused": &struct{}{},
}

// What other people have named stays text on every page: it makes no element, no
// attribute and no link of its own.
func TestHostileNames(t *testing.T) {
	for name, page := range pages() {
		body, ok := bodies[name]
		if !ok {
			t.Errorf("%s is not tested", name)
			continue
		}
		want := ""
		for _, text := range append([]string{"plain"}, hostile...) {
			filled(reflect.ValueOf(body).Elem(), text)
			v := view{Title: text, Host: text, As: asAdmin, Name: text, Form: text, Here: text, Notice: text, Fault: text, Body: body}
			var b strings.Builder
			if err := page.Execute(&b, v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := shape(t, name, b.String())
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s: %.40q makes something of its own", name, text)
			}
		}
	}
}

// htmxAttributes are those that the pages have. Others run what is in them, or send it.
var htmxAttributes = []string{"hx-get", "hx-post", "hx-include", "hx-trigger", "hx-target", "hx-select", "hx-swap", "hx-confirm"}

// shape is the elements of a page with the names of their attributes, all of which may
// be there.
func shape(t *testing.T, page, text string) string {
	t.Helper()
	var out []string
	z := html.NewTokenizer(strings.NewReader(text))
	for z.Next() != html.ErrorToken {
		token := z.Token()
		if token.Type == html.TextToken {
			continue
		}
		names := []string{token.Type.String(), token.Data}
		for _, a := range token.Attr {
			names = append(names, a.Key)
			ours := token.Data == "script" && a.Key == "src" && a.Val == assets["htmx"].path
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" && !ours {
				t.Errorf("%s: %s has the attribute %s", page, token.Data, a.Key)
			}
			// What htmx goes by is the same whatever people are named: a question alone names them.
			if strings.HasPrefix(a.Key, "hx-") && a.Key != "hx-confirm" {
				names = append(names, a.Val)
			}
			if strings.HasPrefix(a.Key, "data-hx") || strings.HasPrefix(a.Key, "hx-") && !slices.Contains(htmxAttributes, a.Key) {
				t.Errorf("%s: %s has the attribute %s", page, token.Data, a.Key)
			}
			if u, err := url.Parse(a.Val); slices.Contains([]string{"href", "action"}, a.Key) && (err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(a.Val, "/") && a.Val != "#main") {
				t.Errorf("%s: %s leads to %q", page, token.Data, a.Val)
			}
		}
		if token.Data == "script" && token.Type == html.StartTagToken && len(token.Attr) != 2 || token.Data == "style" || token.Data == "iframe" {
			t.Errorf("%s: there is a %s", page, token.Data)
		}
		out = append(out, fmt.Sprint(names))
	}
	return strings.Join(out, "\n")
}

// What a user has named stays out of the header of an answer, too.
func TestHostileHeaders(t *testing.T) {
	for _, text := range hostile {
		s := newSite(t, func(r control.WebRequest) control.WebAnswer {
			if r.Do == control.WebLogin {
				return control.WebAnswer{Token: "t", User: text}
			}
			return control.WebAnswer{User: text, Apps: []control.AppPassword{{Name: text}}}
		}, nil)
		s.send("/login", "/login", "name", text, "password", text)
		if status, page := s.send("/account", "/account/app/revoke", "name", text); status != 200 || strings.Contains(page, "<script>alert") {
			t.Errorf("%q: %d", text, status)
		}
		for _, path := range []string{"/account/apple", "/account/settings", "/account/%2e%2e/%2e%2e/etc/passwd", "/account?x=" + url.QueryEscape(text)} {
			s.get(path)
		}
	}
}

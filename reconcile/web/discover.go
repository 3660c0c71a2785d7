package web

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"mailstead/render/profile"
)

// routeDiscovery adds where mail programs look for the settings of an address. They
// have not logged in, and are told the same whether or not there is such a user.
func (s *Server) routeDiscovery(m *http.ServeMux) {
	m.HandleFunc("GET /mail/config-v1.1.xml", s.autoconfig)
	m.HandleFunc("GET /.well-known/autoconfig/mail/config-v1.1.xml", s.autoconfig)
	for _, path := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"} {
		m.HandleFunc("POST "+path, s.autodiscover)
	}
}

// autoconfig answers Thunderbird and others: about an address, or about the domain
// whose name the site was asked by.
func (s *Server) autoconfig(w http.ResponseWriter, r *http.Request) {
	var settings *profile.Settings
	var err error
	if address := r.URL.Query().Get("emailaddress"); address != "" {
		settings, err = s.settingsFor(address)
	} else {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		settings, err = s.domainSettings(strings.TrimPrefix(strings.ToLower(host), "autoconfig."))
	}
	var text []byte
	if err == nil {
		text, err = settings.Autoconfig()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	writeXML(w, text)
}

// autodiscover answers Outlook. What is not settings is an answer as well: a status
// other than 200 sends it on to other places.
func (s *Server) autodiscover(w http.ResponseWriter, r *http.Request) {
	address, err := profile.ParseAutodiscover(r.Body)
	code := profile.AutodiscoverBadRequest
	if errors.Is(err, profile.ErrOtherSchema) {
		code = profile.AutodiscoverNoProvider
	}
	var text []byte
	if err == nil {
		var settings *profile.Settings
		if settings, err = s.settingsFor(address); err == nil {
			text, err = settings.Autodiscover()
		}
		code = profile.AutodiscoverNoProvider
	}
	if err != nil {
		text = profile.AutodiscoverError(code, err.Error())
	}
	writeXML(w, text)
}

func (s *Server) settingsFor(address string) (*profile.Settings, error) {
	at := strings.LastIndex(address, "@")
	settings, err := s.domainSettings(strings.ToLower(address[at+1:]))
	if err != nil {
		return nil, err
	}
	return settings.As(address)
}

func (s *Server) domainSettings(domain string) (*profile.Settings, error) {
	settings, err := profile.ForLogins(s.settings.ProfileHost(""), domain, s.settings.Profile.Logins)
	if err != nil {
		return nil, fmt.Errorf("there are no settings for %q: %w", cmp.Or(domain, "no domain"), err)
	}
	return settings, nil
}

func writeXML(w http.ResponseWriter, text []byte) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.Write(text)
}

package imapserver

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"mailstead/imapserver/config"
	"mailstead/imapserver/login"
)

// loginSettings is what a login serves by: the configuration as far as it
// concerns its listener, and the certificates. Users and what is checked against
// are not in it.
type loginSettings struct {
	Config config.Config `json:"config"`
	PEM    [][]byte      `json:"pem"` // of Config.TLS.Bundles
	// Mechanisms are those that auth drives, in which all who may log in can.
	Mechanisms []string `json:"mechanisms,omitempty"`
	Board      []byte   `json:"board,omitempty"` // login.Board's key
}

// listener finds a listener by name.
func (s *Settings) listener(name string) (config.Listener, bool) {
	for _, l := range s.Config.Listeners {
		if l.Name == name {
			return l, true
		}
	}
	return config.Listener{}, false
}

// servedAs gives the listener that a login is which names itself and listens there: by
// its sockets, since one that was taken over may name any. It is "", which is nobody,
// where they are another listener's. Those of none prove nothing: an apply that is at
// work may have moved them already, or not yet.
func (s *Settings) servedAs(name string, at []netip.AddrPort) string {
	if len(at) == 0 {
		return ""
	}
	others := false
	for _, l := range s.Config.Listeners {
		if slices.ContainsFunc(at, func(a netip.AddrPort) bool { return isAt(l, a) }) {
			if l.Name == name {
				return name
			}
			others = true
		}
	}
	if others {
		return ""
	}
	return name
}

// isAt tells whether a listener is to listen there.
func isAt(l config.Listener, at netip.AddrPort) bool {
	if l.Port != int(at.Port()) {
		return false
	}
	if l.Address == "" {
		return at.Addr().IsUnspecified()
	}
	a, err := netip.ParseAddr(l.Address)
	return err == nil && a.Unmap() == at.Addr()
}

// forLogin encodes the settings of a login. One whose listener the configuration
// does not have, yet or any more, serves nobody.
func (s *Settings) forLogin(name string, mechanisms []string, board []byte) ([]byte, error) {
	c := *s.Config
	c.Listeners = nil
	if l, ok := s.listener(name); ok {
		c.Listeners = []config.Listener{l}
	}
	c.Users, c.Control, c.PAM, c.Outbox, c.Roles, c.Directories, c.Logins = "", "", nil, nil, nil, nil, nil
	data, err := json.Marshal(loginSettings{Config: c, PEM: s.raw.PEM, Mechanisms: mechanisms, Board: board})
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	return data, nil
}

// decodeLoginSettings reads what forLogin has written.
func decodeLoginSettings(data []byte) (*loginSettings, []login.Bundle, error) {
	s := &loginSettings{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, nil, fmt.Errorf("decode settings: %w", err)
	}
	if len(s.PEM) != len(s.Config.TLS.Bundles) {
		return nil, nil, fmt.Errorf("%d certificate files for %d bundles", len(s.PEM), len(s.Config.TLS.Bundles))
	}
	var bundles []login.Bundle
	for i, b := range s.Config.TLS.Bundles {
		bundle, err := login.ParseBundle(b.Name, b.Names, s.PEM[i])
		if err != nil {
			return nil, nil, err
		}
		bundles = append(bundles, bundle)
	}
	return s, bundles, nil
}

package imapserver

import (
	"context"
	"os"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
)

// Check is a start that binds nothing, serves nobody and starts no process: it
// says what a daemon would object to in the files at path.
func Check(path string, o Options) error {
	s, err := Load(path)
	if err != nil {
		return err
	}
	return s.dryStart(o)
}

// CheckStaged is Check of files that have yet to be put in place.
func CheckStaged(st config.Staged, o Options) error {
	c, err := config.Parse(st.Config)
	if err != nil {
		return err
	}
	raw := rawSettings{Config: st.Config, Users: st.Users}
	for _, b := range c.TLS.Bundles {
		raw.PEM = append(raw.PEM, st.PEM[b.Name])
	}
	if raw.Authorities, err = readAuthorities(c); err != nil {
		return err
	}
	s, err := parseSettings(raw)
	if err != nil {
		return err
	}
	return s.dryStart(o)
}

// dryStart has login and auth take the settings, as a start or a reload would.
func (s *Settings) dryStart(o Options) error {
	if l := s.Config.Logins; l != nil {
		c, aside := *s.Config, *l
		aside.Keep = "" // what auth remembers is the running daemon's
		c.Logins, s.Config = &aside, &c
	}
	if os.Geteuid() != 0 { // who may read everything
		if err := auth.CheckFiles(s.Config.Directories); err != nil {
			return err
		}
	}
	if err := auth.CheckKeys(s.Config.Logins); err != nil {
		return err
	}
	f := newFront(o, nil, nil, nil)
	defer f.close(context.Background())
	return f.apply(s)
}

package schema

// probe completes the login that an apply tries. It is one of the users, whose
// mail is here.
func (c *completer) probe() {
	s := c.spot.at("probe")
	if !s.exists() || !s.ok() {
		return
	}
	p := &Probe{}
	p.User, _ = s.at("user").str()
	p.File, _ = s.at("file").str()
	user := c.user(p.User)
	elsewhere, _ := user.at("elsewhere").str()
	switch {
	case !user.exists():
		s.at("user").faultOfValue(CodeReference, "names no user of this host: "+quote(p.User), c.userChoices(p.User))
	case elsewhere != "":
		s.at("user").faultOfValue(CodeValue, "names "+quote(p.User)+", whose mail is elsewhere", "name a user whose mail is on this host")
	default:
		c.host.Probe = p
	}
}

package schema

// fail2ban completes the jail, if there is to be one.
func (c *completer) fail2ban() {
	var f Fail2ban
	if c.spot.at("fail2ban").exists() && c.part(&f, "fail2ban") {
		c.host.Fail2ban = &f
	}
}

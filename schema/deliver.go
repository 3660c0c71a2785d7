package schema

// deliver completes how mail comes in.
func (c *completer) deliver() {
	s := c.spot.at("deliver")
	d := &Deliver{}
	if !s.exists() || !c.part(d, "deliver") {
		return
	}
	d.Origin = s.pos()
	if len(d.Domains) == 0 {
		d.Domains = []string{c.host.Name}
	}
	if at := s.at("lmtp"); at.exists() {
		d.LMTP.Origin = at.pos()
	} else {
		d.LMTP = nil
	}
	c.host.Deliver = d
}

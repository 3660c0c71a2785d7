package schema

import "fmt"

// lmtpListener is the name that no listener can have: the unit of LMTP would be
// that of its socket.
const lmtpListener = "lmtp"

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
		if l := c.spot.at("listeners", lmtpListener); l.exists() {
			l.fault(CodeName, fmt.Sprintf("is the name of the unit that takes mail (%s)", d.LMTP.Origin), "give the listener another name")
		}
	} else {
		d.LMTP = nil
	}
	c.host.Deliver = d
}

package schema

// limits takes over the limits that are set; the others are the daemon's to know.
func (c *completer) limits() {
	for _, s := range c.spot.at("limits").fields() {
		if n, ok := s.number(); ok {
			if c.host.Limits == nil {
				c.host.Limits = map[string]int64{}
			}
			c.host.Limits[s.name()] = int64(n)
		}
	}
}

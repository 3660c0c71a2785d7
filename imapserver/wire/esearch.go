package wire

// ESearch is ESEARCH: a search of the mailboxes that one of the filters chooses.
// Results are UIDs, and Return is never nil.
type ESearch struct {
	Search
	In []MailboxFilter
}

// parseESearch reads ESEARCH (RFC 7377 §4). There are no scope options that could
// follow the filters.
func parseESearch(d *decoder) Command {
	c := &ESearch{Search: Search{UID: true}}
	d.expectSP()
	word := d.searchWord()
	if word == "IN" {
		d.expectSP()
		d.list(func() {
			c.In = append(c.In, d.expectFilter(FilterSelected, FilterInboxes, FilterPersonal, FilterSubscribed,
				FilterSubtree, FilterSubtreeOne, FilterMailboxes))
		})
		if len(c.In) == 0 {
			d.fail("mailbox filter expected")
		}
		d.expectSP()
		word = d.searchWord()
	} else {
		c.In = []MailboxFilter{{Kind: FilterSelected}}
	}
	d.searchProgram(&c.Search, word)
	if c.Return == nil {
		c.Return = &SearchReturn{All: true}
	}
	if c.Return.Save && (len(c.In) != 1 || c.In[0].Kind != FilterSelected) { // RFC 7377 §2.2
		d.fail("SAVE is for the selected mailbox alone")
	}
	return c
}

// Selected tells whether the selected mailbox is asked for by that name.
func (c *ESearch) Selected() bool {
	for _, f := range c.In {
		if f.Kind == FilterSelected {
			return true
		}
	}
	return false
}

package wire

import (
	"bytes"
	"strconv"
	"strings"
)

// The commands of METADATA (RFC 5464 §4). Mailbox "" is the server. The names of
// entries are in lower case.
type (
	// GetMetadata is GETMETADATA.
	GetMetadata struct {
		Mailbox string
		Entries []string
		Options MetadataOptions
	}
	// MetadataOptions are the options of GETMETADATA.
	MetadataOptions struct {
		MaxSize *int64 // nil: values of any size
		Depth   int    // levels below the entries
	}
	// SetMetadata is SETMETADATA.
	SetMetadata struct {
		Mailbox string
		Entries []MetadataEntry
	}
	// MetadataEntry is an entry to set; a nil Value takes it away.
	MetadataEntry struct {
		Name  string
		Value *string
	}
)

// DepthInfinity is every level.
const DepthInfinity = 1 << 30

// maxEntryName is the longest name of an entry in octets.
const maxEntryName = 255

// MetadataShared and MetadataPrivate are what names of entries begin with.
const (
	MetadataShared  = "/shared"
	MetadataPrivate = "/private"
)

// parseGetMetadata reads GETMETADATA. Its options stand before the mailbox; the
// RFC's examples, and clients that follow them, have them after it.
func parseGetMetadata(d *decoder) Command {
	c := &GetMetadata{}
	d.expectSP()
	if next, _ := d.peek(); next == '(' {
		d.metadataOptions(&c.Options)
		d.expectSP()
	}
	c.Mailbox = d.expectMailbox()
	d.expectSP()
	c.Entries = d.expectEntries(&c.Options)
	return c
}

func (d *decoder) metadataOptions(o *MetadataOptions) {
	empty := true
	d.list(func() {
		empty = false
		d.metadataOption(o, d.expectWord("option"))
	})
	if empty {
		d.fail("option expected")
	}
}

func (d *decoder) metadataOption(o *MetadataOptions, name string) {
	switch name {
	case "MAXSIZE":
		d.expectSP()
		n, err := strconv.ParseInt(d.digits(), 10, 64)
		if err != nil {
			d.fail("number expected")
		}
		o.MaxSize = &n
	case "DEPTH":
		d.expectSP()
		switch d.expectWord("depth") {
		case "0":
			o.Depth = 0
		case "1":
			o.Depth = 1
		case "INFINITY":
			o.Depth = DepthInfinity
		default:
			d.fail("depth must be 0, 1 or infinity")
		}
	default:
		d.fail("unknown option")
	}
}

// expectEntries reads an entry or a list of them, each given once. If options
// may come first, those in a list of words that are no entries.
func (d *decoder) expectEntries(o *MetadataOptions) []string {
	if next, _ := d.peek(); next != '(' {
		return []string{d.expectEntry()}
	}
	var entries []string
	seen := map[string]bool{}
	options := false
	d.list(func() {
		if next, _ := d.peek(); o != nil && len(entries) == 0 && next != '/' && next != '"' && next != '{' {
			options = true
			d.metadataOption(o, d.expectWord("option"))
			return
		}
		if name := d.expectEntry(); !seen[name] {
			seen[name] = true
			entries = append(entries, name)
		}
	})
	switch {
	case options && len(entries) > 0:
		d.fail("options among entries")
	case options:
		d.expectSP()
		return d.expectEntries(nil)
	case len(entries) == 0:
		d.fail("entry expected")
	}
	return entries
}

// expectEntry reads the name of an entry (RFC 5464 §3.2), which may be only the
// beginning of others.
func (d *decoder) expectEntry() string {
	name := strings.ToLower(d.expectAString("entry"))
	switch {
	case d.err != nil:
		return ""
	case len(name) > maxEntryName:
		d.fail("name of an entry too long")
	case !strings.HasPrefix(name+"/", MetadataShared+"/") && !strings.HasPrefix(name+"/", MetadataPrivate+"/"),
		strings.HasSuffix(name, "/"), strings.Contains(name, "//"), strings.ContainsAny(name, "*%"):
		d.fail("no name of an entry")
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] >= 0x7f {
			d.fail("no name of an entry")
		}
	}
	return name
}

// parseSetMetadata reads SETMETADATA.
func parseSetMetadata(d *decoder) Command {
	c := &SetMetadata{Mailbox: d.spMailbox()}
	d.expectSP()
	d.list(func() {
		e := MetadataEntry{Name: d.expectEntry()}
		if levels := strings.Count(e.Name, "/"); levels < 2 || vendor(e.Name) && levels < 4 {
			d.fail("no entry, but what others begin with")
		}
		d.expectSP()
		if s, isNil := d.expectNString8("value"); !isNil {
			e.Value = &s
		}
		c.Entries = append(c.Entries, e)
	})
	if len(c.Entries) == 0 {
		d.fail("entry expected")
	}
	return c
}

// vendor tells whether an entry is in the space of vendors.
func vendor(name string) bool {
	_, rest, _ := strings.Cut(name[1:], "/")
	return rest == "vendor" || strings.HasPrefix(rest, "vendor/")
}

// AppendMetadataValue adds the value of an entry: a string, or what holds NUL as
// literal8.
func AppendMetadataValue(dst, value []byte) []byte {
	if bytes.IndexByte(value, 0) < 0 {
		return AppendString(dst, string(value))
	}
	dst = append(dst, '~')
	return appendLiteral(dst, string(value))
}

package adopt

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// leaf is the certificate that a file is about.
type leaf struct {
	fingerprint [sha256.Size]byte
	names       []string // DNS names, in lower case
	key         bool     // the file has a private key, too
	covers      func(name string) error
}

// readLeaf reads the first certificate of a PEM file; nil where there is none.
func (r *reading) readLeaf(name string) (*leaf, error) {
	data, err := r.file(name)
	if data == nil || err != nil {
		return nil, err
	}
	var l *leaf
	key := false
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		key = key || strings.HasSuffix(block.Type, "PRIVATE KEY")
		if block.Type != "CERTIFICATE" || l != nil {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		l = &leaf{fingerprint: sha256.Sum256(c.Raw), covers: c.VerifyHostname}
		for _, n := range c.DNSNames {
			l.names = append(l.names, strings.ToLower(n))
		}
	}
	if l != nil {
		l.key = key
	}
	return l, nil
}

// lineage is a lineage of certbot's, with the certificates that it has had.
type lineage struct {
	name string
	now  *leaf
	old  [][sha256.Size]byte
}

// lineages reads certbot's. One that cannot be read is noted.
func (r *reading) lineages() []lineage {
	entries, err := fs.ReadDir(r.fsys, strings.TrimPrefix(lineages, "/"))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.host.note(Origin{File: lineages}, false, "cannot be read, so that no certificate is known to be certbot's: %v", cause(err))
		}
		return nil
	}
	var list []lineage
	for _, e := range entries {
		if !e.IsDir() {
			continue // README
		}
		now, err := r.readLeaf(path.Join(lineages, e.Name(), "cert.pem"))
		if err != nil {
			r.host.note(Origin{File: path.Join(lineages, e.Name())}, false, "cannot be read: %v", cause(err))
		}
		if now == nil {
			continue
		}
		l := lineage{name: e.Name(), now: now}
		archive := path.Join(path.Dir(lineages), "archive", e.Name())
		issues, _ := fs.Glob(r.fsys, strings.TrimPrefix(archive, "/")+"/cert*.pem")
		for _, f := range issues {
			if old, err := r.readLeaf("/" + f); err == nil && old != nil {
				l.old = append(l.old, old.fingerprint)
			}
		}
		list = append(list, l)
	}
	return list
}

// certificates finds out where each certificate that Courier serves comes from.
func (r *reading) certificates() error {
	file := r.imap["TLS_CERTFILE"]
	if file.Value == "" {
		return nil
	}
	all := r.lineages()
	key := r.imap.Get("TLS_PRIVATE_KEYFILE")
	r.certificate(file, file.Value, key, nil, all)
	entries, err := fs.ReadDir(r.fsys, strings.TrimPrefix(path.Dir(file.Value), "/"))
	if err != nil {
		return nil // its absence has been noted
	}
	for _, e := range entries { // FILE.NAME is for clients that ask for NAME, or that come to it where it is an address
		name, ok := strings.CutPrefix(e.Name(), path.Base(file.Value)+".")
		if !ok || name == "" || !e.Type().IsRegular() && e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		named := ""
		if key != "" {
			named = key + "." + name
		}
		names := []string{strings.ToLower(name)}
		if _, err := netip.ParseAddr(name); err == nil {
			names = nil
		}
		if r.served(file, file.Value+"."+name, names) {
			r.certificate(file, file.Value+"."+name, named, names, all)
		}
	}
	return nil
}

// served tells whether clients get the certificate of FILE.NAME, and notes why they do
// not. A copy that somebody keeps beside it has such a name, too.
func (r *reading) served(from Setting, file string, names []string) bool {
	l, err := r.readLeaf(file)
	switch {
	case err != nil:
		r.host.note(from.Origin, true, "%s cannot be read: %v", printable(file), cause(err))
		return len(names) > 0 && strings.Contains(names[0], ".")
	case l == nil || len(l.names) == 0:
		return true // to be noted
	case len(names) > 0 && l.covers(strings.Replace(names[0], "*", "any-label", 1)) != nil:
		r.host.note(from.Origin, false, "%s: no client gets it: the certificate is not for %s", printable(file), printable(cut(names[0])))
		return false
	case names == nil:
		names = l.names
	}
	for _, n := range names {
		if !slices.ContainsFunc(r.host.Certificates, func(c Certificate) bool { return slices.Contains(c.Names, n) }) {
			return true
		}
	}
	r.host.note(from.Origin, false, "%s: another certificate is served for %s", printable(file), printable(cut(strings.Join(names, ", "))))
	return false
}

// certificate adds the certificate of a file, for names that no other one has. names is nil for those that it has.
func (r *reading) certificate(from Setting, file, key string, names []string, all []lineage) {
	l, err := r.readLeaf(file)
	switch {
	case err != nil:
		r.host.note(from.Origin, true, "%s cannot be read: %v", printable(file), cause(err))
	case l == nil:
		r.host.note(from.Origin, true, "%s is not there, or holds no certificate", printable(file))
		return
	}
	if l == nil {
		l = &leaf{}
	} else if len(l.names) == 0 {
		// Courier's mkimapdcert makes such a one, which no client has believed since
		// names count in the extension alone (RFC 9525 §6.3).
		r.host.note(from.Origin, true, "%s: the certificate is for no DNS name, and is not taken over", from.assignment())
		return
	}
	if names == nil {
		names = slices.DeleteFunc(slices.Clone(l.names), func(n string) bool {
			return slices.ContainsFunc(r.host.Certificates, func(c Certificate) bool { return slices.Contains(c.Names, n) })
		})
	}
	c := Certificate{Names: names, File: file, Key: key, Comment: from.comment()}
	if key == "" {
		c.Key = file
	}
	for _, lin := range all {
		switch {
		case lin.now.fingerprint == l.fingerprint:
			c.Lineage, c.Comment = lin.name, fmt.Sprintf("%s: has the certificate of this lineage", c.Comment)
		case slices.Contains(lin.old, l.fingerprint):
			c.Lineage, c.Comment = lin.name, fmt.Sprintf("%s: has a certificate that this lineage had before: a renewal was missed", c.Comment)
			r.host.note(from.Origin, true, "%s is not what certbot renewed last: clients get the renewed certificate from now on", printable(file))
		}
	}
	r.name(&c)
	r.host.Certificates = append(r.host.Certificates, c)
}

// name gives a certificate the name that it has in the description: the lineage's,
// or the first that it is for.
func (r *reading) name(c *Certificate) {
	switch {
	case c.Lineage != "":
		c.Name = strings.ToLower(c.Lineage)
	case len(c.Names) > 0 && !strings.HasPrefix(c.Names[0], "*"):
		c.Name = c.Names[0]
	default:
		c.Name = r.host.Name
	}
	base := c.Name
	for n := 2; slices.ContainsFunc(r.host.Certificates, func(o Certificate) bool { return o.Name == c.Name }); n++ {
		c.Name = fmt.Sprintf("%s-%d", base, n)
	}
}

// cause strips the operation and the path of an error that is told with its place.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

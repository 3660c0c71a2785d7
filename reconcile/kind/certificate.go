package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// Certificate is a bundle that the daemon reads, kept equal to its source. Have
// is what the facts say of the source; a source that is missing or faulty blocks
// the resource, and the bundle that is there stays.
func Certificate(c CertificateSpec, have reconcile.Certificate, origin string) reconcile.Resource {
	r := reconcile.Resource{Ref: CertificateRef(c.Name), Origin: origin, Unreadable: have.Unreadable}
	switch {
	case have.Unreadable != "":
	case have.Missing != "":
		r.Blocked = &reconcile.Block{Reason: have.Missing, Command: have.Command}
	case have.Fault != "":
		r.Blocked = &reconcile.Block{Reason: have.Fault}
	}
	if r.Blocked != nil && have.Installed != "" {
		r.Blocked.Reason += "; what was installed before goes on being served"
	}
	add := func(name, value string, impact reconcile.Impact) {
		r.Attrs = append(r.Attrs, reconcile.Attr{Name: name, Value: value, Impact: impact, Follow: slices.Contains(renewedAttrs, name)})
	}
	add("source", string(c.Source), reconcile.Live)
	add("names", strings.Join(c.Names, " "), reconcile.Reload)
	if c.Source == SelfSigned {
		add("days", strconv.Itoa(c.Days), reconcile.Live)
		add("renewal", renewalNotDue, reconcile.Reload)
	} else {
		add("certificate", c.Certificate, reconcile.Live)
		add("key", c.Key, reconcile.Live)
		add("fingerprint", have.Fingerprint, reconcile.Reload)
		add("chain", have.Chain, reconcile.Reload)
	}
	add("bundle", c.Bundle, reconcile.Reload)
	if c.Group != "" {
		add("group", c.Group, reconcile.Reload)
	}
	add("state", stateGood, reconcile.Reload)
	if c.Stitched != "" {
		add("stitched", c.Stitched, reconcile.Live)
		add("stitched state", stateGood, reconcile.Live)
	}
	return r
}

// renewedAttrs are the attributes that differ after a renewal.
var renewedAttrs = []string{"renewal", "fingerprint", "chain"}

// CertificateRef names the certificate of that name in the description.
func CertificateRef(name string) reconcile.Ref {
	return reconcile.Ref{Kind: "certificate", Name: name}
}

const (
	renewalNotDue = "not due"
	stateGood     = "good"
)

// specOf is the inverse of Certificate.
func specOf(r reconcile.Resource) CertificateSpec {
	days, _ := strconv.Atoi(r.Get("days")) // 0 is refused where it is used
	return CertificateSpec{
		Name:        r.Ref.Name,
		Names:       strings.Fields(r.Get("names")),
		Source:      Source(r.Get("source")),
		Certificate: r.Get("certificate"),
		Key:         r.Get("key"),
		Days:        days,
		Bundle:      r.Get("bundle"),
		Group:       r.Get("group"),
		Stitched:    r.Get("stitched"),
	}
}

// ReadCertificate says what the source of a certificate holds now. It is part of
// the facts of a host, from which a wanted Certificate is made.
func ReadCertificate(ctx context.Context, c CertificateSpec) reconcile.Certificate {
	var f reconcile.Certificate
	b, err := readBundle(c)
	if b.usable() {
		f.Installed, f.InstalledUntil, f.InstalledChain = b.fingerprint(), b.chain[0].NotAfter, b.chainDigest()
	}
	if c.Source == SelfSigned {
		switch {
		case errors.Is(err, fs.ErrPermission):
			f.Unreadable = explain(err).Error()
		case b.usable():
			describe(&f, b.pair)
			if !b.serves(c.Names) {
				f.Fingerprint, f.Chain = "", ""
			}
		}
		return f
	}
	if c.Source == Certbot {
		if _, err := os.Stat(filepath.Dir(c.Certificate)); errors.Is(err, fs.ErrNotExist) {
			f.Missing, f.Command = lineageMissing(c), certbotCommand(c)
			return f
		}
	}
	readSource(ctx, c, &f)
	return f
}

// readSource reads the certificate that certbot or someone else keeps.
func readSource(ctx context.Context, c CertificateSpec, f *reconcile.Certificate) {
	p, faults, err := readPair(ctx, c.Certificate, c.Key)
	switch {
	case errors.Is(err, fs.ErrPermission):
		f.Unreadable = explain(err).Error()
		return
	case errors.Is(err, fs.ErrNotExist) && c.Source == Files:
		f.Missing = err.Error()
		return
	case err != nil:
		f.Fault = err.Error()
		return
	}
	faults = append(faults, p.check(c.Names, time.Now())...)
	if len(p.chain) > 0 {
		describe(f, p)
	}
	if len(faults) > 0 {
		f.Fault = strings.Join(faults, "; ")
		f.Fingerprint, f.Chain = "", ""
	}
}

func describe(f *reconcile.Certificate, p *pair) {
	leaf := p.chain[0]
	f.Fingerprint, f.Chain = p.fingerprint(), p.chainDigest()
	f.Names, f.NotBefore, f.NotAfter = certificateNames(leaf), leaf.NotBefore, leaf.NotAfter
}

// bundle is what was installed before.
type bundle struct {
	*pair
	broken []string // why it cannot be served
	loose  []string // what is wrong with the file
}

// usable tells whether it can be served.
func (b *bundle) usable() bool { return b != nil && len(b.broken) == 0 }

// state says in words what is wrong with it.
func (b *bundle) state() string {
	if len(b.broken)+len(b.loose) == 0 {
		return stateGood
	}
	return strings.Join(slices.Concat(b.broken, b.loose), "; ")
}

// serves tells whether a self-signed certificate still does.
func (b *bundle) serves(names []string) bool {
	return b.usable() && b.renewal(time.Now()) == renewalNotDue && b.namesLike(names) == strings.Join(names, " ")
}

// readBundle reads what was installed before, nil where there is nothing.
func readBundle(c CertificateSpec) (*bundle, error) {
	data, loose, err := readSecret(c.Bundle, c.Group)
	if data == nil || err != nil {
		return nil, err
	}
	b := &bundle{loose: loose}
	b.pair, b.broken = parsePair(c.Bundle, data, c.Bundle, data)
	if len(b.broken) == 0 && !b.matches() {
		b.broken = append(b.broken, "the key is not the certificate's")
	}
	if len(b.broken) == 0 && !bytes.Equal(data, b.encode()) {
		b.loose = append(b.loose, "was changed by someone else")
	}
	return b, nil
}

// secretMode is the mode of a file that nobody but its owner and the group, if
// there is one, may read.
func secretMode(group string) uint32 {
	if group == "" {
		return 0o600
	}
	return 0o640
}

// secretGroup gives the number of the group, that of the program where there is none.
func secretGroup(group string) (int, error) {
	if group == "" {
		group = Self
	}
	_, gid, err := ownerIDs(context.Background(), Self, group)
	return gid, err
}

// readSecret reads a file that nobody else may read but the group, if one is
// given. It is nil where there is none.
func readSecret(path, group string) (data []byte, faults []string, err error) {
	if err := checkPath(path); err != nil {
		return nil, nil, err
	}
	d, err := reconcile.OpenDir(filepath.Dir(path), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	name := filepath.Base(path)
	st, err := statAt(d, name, unix.S_IFREG)
	if st == nil || err != nil {
		return nil, nil, err
	}
	if mode := st.Mode & 0o7777; mode != secretMode(group) {
		faults = append(faults, fmt.Sprintf("mode %04o instead of %04o", mode, secretMode(group)))
	}
	if gid, err := secretGroup(group); group != "" && (err != nil || int(st.Gid) != gid) {
		faults = append(faults, fmt.Sprintf("gid %d instead of the group %s", st.Gid, group))
	}
	if int(st.Uid) != os.Geteuid() {
		faults = append(faults, fmt.Sprintf("belongs to uid %d", st.Uid))
	}
	data, err = d.ReadFile(name, 2*maxPEM)
	if err == nil && data == nil {
		data = []byte{}
	}
	return data, faults, err
}

func observeCertificate(_ context.Context, ask reconcile.Ask) (*reconcile.Resource, error) {
	c := specOf(ask.Resource)
	b, err := readBundle(c)
	if err != nil || b == nil {
		return nil, err
	}
	values := []value{{name: "state", value: b.state()}}
	switch {
	case !b.usable():
	case c.Source == SelfSigned:
		values = append(values,
			value{name: "names", value: b.namesLike(c.Names)},
			value{name: "renewal", value: b.renewal(time.Now())})
	default:
		values = append(values,
			value{name: "fingerprint", value: b.fingerprint()},
			value{name: "chain", value: b.chainDigest()})
	}
	have := found(ask.Resource, values...)
	if c.Stitched != "" && !slices.Contains(othersFiles(c.Name, ask.Kin), c.Stitched) {
		value{name: "stitched state", value: stitchedState(c.Stitched, b.pair)}.put(have)
	}
	for _, old := range abandoned(c, ask.Was, ask.Kin) {
		if _, err := os.Lstat(old); err == nil {
			value{name: "left behind", value: old, impact: reconcile.Live}.put(have)
		}
	}
	return have, nil
}

// stitchedState says what is wrong with the copy for other programs. What keeps it
// from being read is no error: a renewal does not wait for the copy.
func stitchedState(path string, p *pair) string {
	data, faults, err := readSecret(path, "")
	switch {
	case err != nil:
		return explain(err).Error()
	case data == nil:
		return "missing"
	case string(data) != string(p.encode()):
		return "differs from the bundle"
	case len(faults) > 0:
		return strings.Join(faults, "; ")
	}
	return stateGood
}

// othersFiles gives the files that other certificates are wanted to have.
func othersFiles(name string, kin *reconcile.Kin) (paths []string) {
	if kin == nil {
		return nil
	}
	for _, r := range kin.Want {
		if r.Ref != CertificateRef(name) {
			paths = append(paths, r.Get("bundle"), r.Get("stitched"))
		}
	}
	return paths
}

// abandoned gives the files with keys that earlier applications may have left
// in other places. What another certificate has by now is that one's.
func abandoned(c CertificateSpec, was []reconcile.Resource, kin *reconcile.Kin) []string {
	kept := append(othersFiles(c.Name, kin), "", c.Bundle, c.Stitched)
	var paths []string
	for _, w := range was {
		for _, old := range []string{w.Get("bundle"), w.Get("stitched")} {
			if !slices.Contains(kept, old) {
				paths = append(paths, old)
			}
		}
	}
	return paths
}

func applyCertificate(ctx context.Context, c reconcile.Change) error {
	if c.Want == nil {
		return removeFiles(abandoned(CertificateSpec{Name: c.Ref.Name}, c.Was, c.Kin))
	}
	spec := specOf(*c.Want)
	p, err := certificateFor(ctx, spec, c.Want.Get("fingerprint"))
	if err != nil {
		return err
	}
	if err := writeSecret(spec.Bundle, spec.Group, p.encode()); err != nil {
		return err
	}
	if spec.Stitched != "" {
		if err := writeSecret(spec.Stitched, "", p.encode()); err != nil {
			return err
		}
	}
	return removeFiles(abandoned(spec, c.Was, c.Kin))
}

// certificateFor reads the source, or makes a self-signed certificate unless the
// one that is there still does.
func certificateFor(ctx context.Context, c CertificateSpec, fingerprint string) (*pair, error) {
	if c.Source == SelfSigned {
		b, err := readBundle(c)
		if err != nil {
			return nil, err
		}
		if b.serves(c.Names) {
			return b.pair, nil
		}
		return makeSelfSigned(c.Names, c.Days, time.Now())
	}
	p, faults, err := readPair(ctx, c.Certificate, c.Key)
	if err != nil {
		return nil, err
	}
	if faults = append(faults, p.check(c.Names, time.Now())...); len(faults) > 0 {
		return nil, errors.New(strings.Join(faults, "; "))
	}
	if p.fingerprint() != fingerprint {
		return nil, fmt.Errorf("%w: the source has another certificate (valid from %s)",
			reconcile.ErrChanged, p.chain[0].NotBefore.UTC().Format(time.DateTime))
	}
	return p, nil
}

// writeSecret replaces a file that nobody else may read, unless it is right.
func writeSecret(path, group string, data []byte) error {
	if have, faults, err := readSecret(path, group); err != nil {
		return err
	} else if have != nil && len(faults) == 0 && string(have) == string(data) {
		return nil
	}
	gid, err := secretGroup(group)
	if err != nil {
		return err
	}
	return reconcile.ReplaceFile(path, reconcile.FileData{Mode: secretMode(group), UID: os.Geteuid(), GID: gid, Data: data})
}

func removeFiles(paths []string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, removeFile(p))
	}
	return errors.Join(errs...)
}

// StagedBundle gives what would be installed for a wanted certificate, and where
// it waits for its source, what is installed. It writes nothing: of a self-signed
// certificate that is to be made, it is one made for this call.
func StagedBundle(ctx context.Context, r reconcile.Resource) ([]byte, error) {
	c := specOf(r)
	if r.Blocked != nil || r.Unreadable != "" {
		b, err := readBundle(c)
		if err != nil || !b.usable() {
			return nil, err
		}
		return b.encode(), nil
	}
	p, err := certificateFor(ctx, c, r.Get("fingerprint"))
	if err != nil {
		return nil, err
	}
	return p.encode(), nil
}

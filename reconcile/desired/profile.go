package desired

import (
	"path"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render/profile"
)

// addProfiles keeps what a web server tells mail programs. The directory itself may
// be somebody else's: ours are those of the domains in it.
func (b *builder) addProfiles() error {
	p := b.host.Profiles
	if p == nil || p.Dir == "" || b.rootless {
		return nil
	}
	files, err := profile.Files(b.host)
	if err != nil {
		return err
	}
	dirs := map[string]reconcile.Ref{}
	for _, f := range files {
		dir, ok := dirs[f.Domain]
		if !ok {
			dir = b.add(kind.Directory(path.Join(p.Dir, f.Domain), 0o755, "root", "root", p.Origin.String()))
			dirs[f.Domain] = dir
		}
		b.add(kind.File("file", kind.FileSpec{
			Path: path.Join(p.Dir, f.Domain, f.Name), Mode: 0o644, Owner: "root", Group: "root", Content: f.Content, Impact: reconcile.Live,
		}, p.Origin.String()), dir)
	}
	return nil
}

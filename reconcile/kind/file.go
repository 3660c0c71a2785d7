package kind

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// File is a file with its whole content. kindName says what it is for and where
// in the order of changes it stands: one of "file", "daemon-config",
// "password-file", "deploy-hook", "pam-service".
func File(kindName string, f FileSpec, origin string) reconcile.Resource {
	if f.Impact == "" {
		f.Impact = reconcile.Live
	}
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: kindName, Name: f.Path},
		Origin: origin,
		Attrs: append(modeAttrs(f.Mode, f.Owner, f.Group),
			reconcile.Attr{Name: "content", Value: string(f.Content), Secret: f.Secret, Impact: f.Impact}),
	}
}

// maxFile is the largest file that is ever compared: the users of a very large
// host.
const maxFile = 256 << 20

func observeFile(ctx context.Context, ask reconcile.Ask) (*reconcile.Resource, error) {
	values, err := readFile(ctx, ask, ask.Ref.Name)
	if err != nil || values == nil {
		return nil, err
	}
	return found(ask.Resource, values...), nil
}

// readFile gives mode, owner, group and content of a file, nil where there is none.
func readFile(ctx context.Context, ask reconcile.Ask, path string) ([]value, error) {
	d, st, err := lookAt(path, unix.S_IFREG)
	if err != nil || d == nil {
		return nil, err
	}
	defer d.Close()
	data, err := d.ReadFile(filepath.Base(path), maxFile)
	if err != nil {
		return nil, err
	}
	return append(foundMode(ctx, ask, st), value{name: "content", value: string(data)}), nil
}

func applyFile(ctx context.Context, c reconcile.Change) error {
	if c.Want == nil {
		return removeFile(c.Ref.Name)
	}
	same := c.Have != nil && c.Have.Get("content") == c.Want.Get("content")
	return writeFile(ctx, c.Want, c.Ref.Name, c.Want.Get("content"), same)
}

// writeFile gives a file its content, and the owner and mode of the wanted
// resource. Where the content is the same already the file stays the one that
// it is, so that its time still says when it was written.
func writeFile(ctx context.Context, want *reconcile.Resource, path, content string, same bool) error {
	mode, uid, gid, err := wantedMode(ctx, want)
	if err != nil {
		return err
	}
	d, err := reconcile.OpenDir(filepath.Dir(path), false)
	if err != nil {
		return err
	}
	defer d.Close()
	name := filepath.Base(path)
	if same && chmodFile(d, name, mode, uid, gid) == nil {
		return nil
	}
	return d.Replace(name, reconcile.FileData{Mode: mode, UID: uid, GID: gid, Data: []byte(content)})
}

// chmodFile changes mode and owner of a file that has no second name: of one
// that has, nobody knows what the other name means to whom.
func chmodFile(d *reconcile.Dir, name string, mode uint32, uid, gid int) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return errors.New("not a file of its own")
	}
	return setMode(int(f.Fd()), name, mode, uid, gid)
}

// removeFile removes a file; none is no error.
func removeFile(path string) error {
	d, err := reconcile.OpenDir(filepath.Dir(path), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Remove(filepath.Base(path))
}

package schema

import (
	"bytes"
	"io/fs"
	"path"
	"time"
)

// instead is a data file of a directory as it might be: what is read in its place.
type instead struct {
	*bytes.Reader
	name string
}

// insteadOf is what is to be read in place of a file of the tree; false for any other.
func (t *tree) insteadOf(name string) (fs.File, bool) {
	text, ok := t.instead[name]
	if !ok {
		return nil, false
	}
	return &instead{bytes.NewReader(text), path.Base(name)}, true
}

// assume has the tree read texts in place of files of the directory, by name, whether
// they are there or not.
func (t *tree) assume(texts map[string][]byte) {
	t.instead = make(map[string][]byte, len(texts))
	for name, text := range texts {
		t.instead[path.Join(t.dir, name)] = text
	}
}

func (i *instead) Stat() (fs.FileInfo, error) { return i, nil }
func (i *instead) Close() error               { return nil }
func (i *instead) Name() string               { return i.name }
func (i *instead) Mode() fs.FileMode          { return 0o600 }
func (i *instead) ModTime() time.Time         { return time.Time{} }
func (i *instead) IsDir() bool                { return false }
func (i *instead) Sys() any                   { return nil }

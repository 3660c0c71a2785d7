package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"mailstead/reconcile/web"
)

// webChanges is the file of the description that has what was changed at the web page.
// Nothing else of the description is ever written, and nobody but the page writes it.
const webChanges = "web.json"

// webDescription is what that file may hold: users that were made at the page. Nothing
// in it names a program, a path, a listener or a certificate, whatever the page asks for.
type webDescription struct {
	Hosts map[string]*webHost `json:"hosts"`
}

type webHost struct {
	Users map[string]*webUser `json:"users"`
}

type webUser struct {
	Password webPassword           `json:"password"`
	Quota    *webQuota             `json:"quota,omitempty"`
	Folders  map[string]webFolders `json:"folders,omitempty"`
}

type webPassword struct {
	Hash string `json:"hash"`
}

type webQuota struct {
	Storage string `json:"storage"`
}

type webFolders struct{}

// readWebChanges reads the file; none is an empty one.
func readWebChanges(dir string) (*webDescription, []byte, error) {
	path := filepath.Join(dir, webChanges)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &webDescription{}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var d webDescription
	j := json.NewDecoder(bytes.NewReader(text))
	j.DisallowUnknownFields()
	if err := j.Decode(&d); err != nil {
		return nil, nil, hint(fmt.Errorf("%s holds something that the web page does not write: %w", path, err), "move what was written by hand into another file")
	}
	return &d, text, nil
}

func (d *webDescription) encode() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "\t")
	return append(text, '\n'), err
}

// of gives what the file has of a host.
func (d *webDescription) of(host string) *webHost {
	if d.Hosts == nil {
		d.Hosts = map[string]*webHost{}
	}
	if d.Hosts[host] == nil {
		d.Hosts[host] = &webHost{}
	}
	if d.Hosts[host].Users == nil {
		d.Hosts[host].Users = map[string]*webUser{}
	}
	return d.Hosts[host]
}

// webMakes are the changes that can be proposed, by kind. There are no others.
var webMakes = map[string]func(*webHost, web.Change) error{
	web.AddUser:     addWebUser,
	web.RemoveUser:  removeWebUser,
	web.SetPassword: setWebPassword,
	web.SetQuota:    setWebQuota,
	web.AddFolder:   addWebFolder,
}

// make makes a change of what the file has of a host.
func (d *webDescription) make(host string, c web.Change) error {
	change, ok := webMakes[c.Kind]
	if !ok {
		return fmt.Errorf("there is no such change: %q", c.Kind)
	}
	return change(d.of(host), c)
}

func addWebUser(h *webHost, c web.Change) error {
	if h.Users[c.User] != nil {
		return fmt.Errorf("there is a user %q already", c.User)
	}
	h.Users[c.User] = &webUser{}
	if err := setWebPassword(h, c); err != nil {
		return err
	}
	return setWebQuota(h, c)
}

// own gives a user who was made at the page. Others are changed where they are
// written: what is left here of one who goes there would make them another user.
func (h *webHost) own(name string) (*webUser, error) {
	u := h.Users[name]
	if u == nil {
		return nil, hint(fmt.Errorf("%q was not made at this page", name), "change users that are written by hand where they are written")
	}
	return u, nil
}

func removeWebUser(h *webHost, c web.Change) error {
	_, err := h.own(c.User)
	delete(h.Users, c.User)
	return err
}

func setWebPassword(h *webHost, c web.Change) error {
	u, err := h.own(c.User)
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(c.Password) < 10 {
		return errors.New("the password has less than 10 characters")
	}
	if err := checkPassword(c.Password); err != nil {
		return err
	}
	u.Password.Hash, err = hashArgon2id(c.Password)
	return err
}

func setWebQuota(h *webHost, c web.Change) error {
	u, err := h.own(c.User)
	if err == nil {
		if u.Quota = nil; c.Storage != "" {
			u.Quota = &webQuota{c.Storage}
		}
	}
	return err
}

func addWebFolder(h *webHost, c web.Change) error {
	u, err := h.own(c.User)
	if err != nil {
		return err
	}
	if c.Folder == "" {
		return errors.New("the folder has no name")
	}
	if u.Folders == nil {
		u.Folders = map[string]webFolders{}
	}
	u.Folders[c.Folder] = webFolders{}
	return nil
}

// webHash is a hash in the file, which nobody is shown.
var webHash = regexp.MustCompile(`"hash": "[^"]*"`)

// maskWebHashes keeps equal hashes equal.
func maskWebHashes(key, text []byte) []byte {
	return webHash.ReplaceAllFunc(text, func(field []byte) []byte {
		_, hash, _ := strings.Cut(string(field), ": ")
		return fmt.Appendf(nil, `"hash": %q`, keyedHash(key, strings.Trim(hash, `"`)))
	})
}

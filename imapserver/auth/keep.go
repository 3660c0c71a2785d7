package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"
)

// keepFile is what auth keeps, in its directory: one file, replaced as a whole.
const keepFile = "keep.json"

// keepVersion is the version of the file that is read and written; maxKeep bounds
// it, in octets.
const (
	keepVersion = 1
	maxKeep     = 256 << 20
)

// lazy is how long a change may wait to be written that costs nobody anything if
// it is lost: a last use, or a hash that the next login makes again.
const lazy = 2 * time.Second

// kept is the file.
type kept struct {
	Version int                  `json:"version"`
	Secret  []byte               `json:"secret"`           // what nobody's salt is made of
	Hashes  map[string]keptHash  `json:"hashes,omitempty"` // by user
	Apps    map[string][]keptApp `json:"apps,omitempty"`   // app passwords, by user, in the order in which they were made
}

// keptHash is what the hash of a user has become. It counts in place of that one
// alone, so that a new password in the description wins.
type keptHash struct {
	Of   string `json:"of"` // digest of the hash in the description
	Hash string `json:"hash"`
}

// keep is what auth remembers in its directory, or, without one, until it ends.
// Its methods may be called from many goroutines.
type keep struct {
	lazyFile
	now kept // under mu; its lists are replaced, not changed
	mu  sync.RWMutex

	changing sync.Mutex // held while a change is made that is written at once, or taken back
}

// errDamaged is of a file that was read and makes no sense.
var errDamaged = errors.New("it is damaged")

// openKeep reads what is kept in dir. A file that makes no sense is put aside, and
// costs what was in it: nobody can log in by what cannot be read, but everybody
// by what the description has. One that cannot be read now is an error: it may be sound.
func openKeep(dir string, log *slog.Logger) (*keep, error) {
	k := &keep{lazyFile: lazyFile{log: log, dir: dir, name: keepFile, max: maxKeep, wait: lazy}}
	k.encode = k.json
	err := k.read()
	switch {
	case err == nil:
		return k, nil
	case errors.Is(err, errDamaged):
		aside := fmt.Sprintf("%s.damaged-%d", k.path(), time.Now().Unix())
		log.Error("what was kept of logins makes no sense, and was put aside: app passwords and passwords that users chose are lost", "err", err, "aside", aside)
		if err := os.Rename(k.path(), aside); err != nil {
			log.Error("nothing is kept of logins", "err", err)
			k.dir = ""
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("what is kept of logins: %w", err)
	}
	k.now = newKept(make([]byte, sha256.Size))
	rand.Read(k.now.Secret)
	if err := k.write(); err != nil {
		log.Error("nothing is kept of logins", "err", err)
		k.dir = ""
	}
	return k, nil
}

func newKept(secret []byte) kept {
	return kept{Version: keepVersion, Secret: secret, Hashes: map[string]keptHash{}, Apps: map[string][]keptApp{}}
}

func (k *keep) read() error {
	if k.dir == "" {
		return fs.ErrNotExist
	}
	data, err := readFile(k.path(), maxKeep)
	if err != nil {
		return err
	}
	var now kept
	if err := json.Unmarshal(data, &now); err != nil {
		return fmt.Errorf("read %s: %w: %w", k.path(), errDamaged, err)
	}
	switch {
	case now.Version > keepVersion:
		return fmt.Errorf("read %s: version %d is of a newer program, and this one reads %d", k.path(), now.Version, keepVersion)
	case now.Version != keepVersion:
		return fmt.Errorf("read %s: %w: version %d, and this program reads %d", k.path(), errDamaged, now.Version, keepVersion)
	case len(now.Secret) != sha256.Size:
		return fmt.Errorf("read %s: %w: it has no secret", k.path(), errDamaged)
	}
	k.now = newKept(now.Secret)
	maps.Copy(k.now.Hashes, now.Hashes)
	maps.Copy(k.now.Apps, now.Apps)
	return nil
}

func (k *keep) json() ([]byte, error) {
	k.mu.RLock()
	now := k.now
	now.Hashes, now.Apps = maps.Clone(now.Hashes), maps.Clone(now.Apps)
	k.mu.RUnlock()
	return json.Marshal(now)
}

// durably makes a change of what, writes, and takes the change back if that cannot be
// written. No other one that is written at once comes between. An error of change is its
// own.
func (k *keep) durably(what string, change func() (undo func(), err error)) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.mu.Lock()
	undo, err := change()
	k.mu.Unlock()
	if err != nil {
		return err
	}
	if err = k.write(); err != nil {
		k.mu.Lock()
		undo()
		k.mu.Unlock()
		k.soon() // somebody else may have written it meanwhile
		return fmt.Errorf("keep %s: %w", what, err)
	}
	return nil
}

// secret is the same for as long as the file is there.
func (k *keep) secret() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.now.Secret
}

// hashDigest is what a keptHash is known to replace it by.
func hashDigest(hash string) string {
	sum := sha256.Sum256([]byte(hash))
	return hex.EncodeToString(sum[:])
}

// hash gives what a user's hash in the description has become, or that itself.
func (k *keep) hash(user, hash string) string {
	k.mu.RLock()
	h, ok := k.now.Hashes[user]
	k.mu.RUnlock()
	if !ok || h.Of != hashDigest(hash) {
		return hash
	}
	return h.Hash
}

// replace keeps what a user's hash has become.
func (k *keep) replace(user, of, hash string) {
	k.mu.Lock()
	k.now.Hashes[user] = keptHash{Of: hashDigest(of), Hash: hash}
	k.mu.Unlock()
	k.soon()
}

// prune forgets what has become of hashes that the description does not have any
// more. given is those that it has, by user.
func (k *keep) prune(given func(user string) (hash string)) {
	k.mu.Lock()
	before := len(k.now.Hashes)
	maps.DeleteFunc(k.now.Hashes, func(user string, h keptHash) bool { return h.Of != hashDigest(given(user)) })
	fewer := len(k.now.Hashes) < before
	k.mu.Unlock()
	if fewer {
		k.soon()
	}
}

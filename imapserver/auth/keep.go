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
	"path/filepath"
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
	log  *slog.Logger
	dir  string // "" keeps nothing
	now  kept   // under mu; its lists are replaced, not changed
	mu   sync.RWMutex
	late *time.Timer // of a lazy write; nil while there is none

	writing sync.Mutex // held while the file is replaced
}

// openKeep reads what is kept in dir. A file that makes no sense is put aside, and
// costs what was in it: nobody can log in by what cannot be read, but everybody
// by what the description has.
func openKeep(dir string, log *slog.Logger) *keep {
	k := &keep{log: log, dir: dir}
	err := k.read()
	if err == nil {
		return k
	}
	if !errors.Is(err, fs.ErrNotExist) {
		aside := fmt.Sprintf("%s.damaged-%d", k.path(), time.Now().Unix())
		log.Error("what was kept of logins cannot be read, and was put aside: app passwords are lost", "err", err, "aside", aside)
		if err := os.Rename(k.path(), aside); err != nil {
			log.Error("nothing is kept of logins", "err", err)
			k.dir = ""
		}
	}
	k.now = newKept(make([]byte, sha256.Size))
	rand.Read(k.now.Secret)
	if err := k.write(); err != nil {
		log.Error("nothing is kept of logins", "err", err)
		k.dir = ""
	}
	return k
}

func newKept(secret []byte) kept {
	return kept{Version: keepVersion, Secret: secret, Hashes: map[string]keptHash{}, Apps: map[string][]keptApp{}}
}

func (k *keep) path() string { return filepath.Join(k.dir, keepFile) }

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
		return fmt.Errorf("read %s: %w", k.path(), err)
	}
	if now.Version != keepVersion {
		return fmt.Errorf("read %s: version %d, and this program reads %d", k.path(), now.Version, keepVersion)
	}
	if len(now.Secret) != sha256.Size {
		return fmt.Errorf("read %s: it has no secret", k.path())
	}
	k.now = newKept(now.Secret)
	maps.Copy(k.now.Hashes, now.Hashes)
	maps.Copy(k.now.Apps, now.Apps)
	return nil
}

// write replaces the file, durably: it is on disk when write returns.
func (k *keep) write() error {
	if k.dir == "" {
		return nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.RLock()
	now := k.now
	now.Hashes, now.Apps = maps.Clone(now.Hashes), maps.Clone(now.Apps)
	k.mu.RUnlock()
	data, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("write %s: %w", k.path(), err)
	}
	if len(data) > maxKeep {
		return fmt.Errorf("write %s: %d octets, more than %d", k.path(), len(data), maxKeep)
	}
	f, err := os.CreateTemp(k.dir, keepFile+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // without effect once it has its name
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), k.path())
	}
	if err != nil {
		return err
	}
	d, err := os.Open(k.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// soon writes before long, once for all who ask meanwhile.
func (k *keep) soon() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.late == nil {
		k.late = time.AfterFunc(lazy, k.flush)
	}
}

// flush writes what waits to be written.
func (k *keep) flush() {
	k.mu.Lock()
	late := k.late
	k.late = nil
	k.mu.Unlock()
	if late == nil {
		return
	}
	late.Stop()
	if err := k.write(); err != nil {
		k.log.Error("logins: not kept", "err", err)
	}
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

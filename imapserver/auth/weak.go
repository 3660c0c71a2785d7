package auth

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	shacrypt "github.com/go-crypt/x/crypt"

	"mailstead/imapserver/config"
)

// weakForms are served only where the description names their scheme: whoever has
// one of these hashes tries a billion passwords a second. DES-crypt, which looks at
// eight characters, is not served at all.
var weakForms = []struct {
	scheme, prefix string
	parse          func(s string) (Hash, error)
}{
	{"MD5-CRYPT", "$1$", parseMD5},
	{"SHA256-CRYPT", "$5$", shaCrypt("sha256", "$5$", 43, sha256.New)},
	{"PLAIN", "{PLAIN}", parsePlain},
	{"MD5", "{MD5}", digestOf(md5.New, false)},
	{"SMD5", "{SMD5}", digestOf(md5.New, true)},
	{"SHA", "{SHA}", digestOf(sha1.New, false)},
	{"SSHA", "{SSHA}", digestOf(sha1.New, true)},
	{"SHA256", "{SHA256}", digestOf(sha256.New, false)},
	{"SSHA256", "{SSHA256}", digestOf(sha256.New, true)},
	{"SHA512", "{SHA512}", digestOf(sha512.New, false)},
	{"SSHA512", "{SSHA512}", digestOf(sha512.New, true)},
}

func parseWeak(s string, allowed []string) (Hash, error) {
	for _, f := range weakForms {
		rest, ok := strings.CutPrefix(s, f.prefix)
		if !ok {
			continue
		}
		if !slices.Contains(allowed, f.scheme) {
			return Hash{}, fmt.Errorf("%w; %s is accepted only where it is named", ErrWeak, f.scheme)
		}
		h, err := f.parse(rest)
		if err != nil {
			return Hash{}, fmt.Errorf("hash %s: %w", f.prefix, err)
		}
		return h, nil
	}
	return Hash{}, ErrWeak
}

var md5Form = config.Pattern(`^([^$:\n]{1,8})\$([./A-Za-z0-9]{22})$`)

func parseMD5(s string) (Hash, error) {
	m := md5Form().FindStringSubmatch(s)
	if m == nil {
		return Hash{}, errors.New("not $1$SALT$HASH")
	}
	salt, want := []byte(m[1]), []byte(m[2])
	return Hash{cost: "md5-crypt", verify: func(password []byte) bool {
		return subtle.ConstantTimeCompare(shacrypt.KeyMD5Crypt(password, salt), want) == 1
	}}, nil
}

// parsePlain compares digests, which are of one length.
func parsePlain(s string) (Hash, error) {
	if s == "" {
		return Hash{}, errors.New("no password")
	}
	want := sha256.Sum256([]byte(s))
	return Hash{cost: "plain", verify: func(password []byte) bool {
		got := sha256.Sum256(password)
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}}, nil
}

// digestOf reads a digest in base64 or hexadecimal, behind which the salt is.
func digestOf(make func() hash.Hash, salted bool) func(string) (Hash, error) {
	return func(s string) (Hash, error) {
		size := make().Size()
		raw, err := base64.StdEncoding.DecodeString(s)
		if b, herr := hex.DecodeString(s); err != nil || herr == nil && len(b) >= size && len(raw) != size {
			raw, err = b, herr
		}
		if err != nil || len(raw) < size || (len(raw) > size) != salted || len(raw) > size+64 {
			return Hash{}, errors.New("not a digest of that kind in base64 or hexadecimal")
		}
		want, salt := raw[:size], raw[size:]
		return Hash{cost: "digest", verify: func(password []byte) bool {
			d := make()
			d.Write(password)
			d.Write(salt)
			return subtle.ConstantTimeCompare(d.Sum(nil), want) == 1
		}}, nil
	}
}

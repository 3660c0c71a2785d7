package auth

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	shacrypt "github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"mailstead/imapserver/config"
	"mailstead/imapserver/sasl"
)

// The bounds of the cost of one hash: what a description may ask of the
// daemon at every login. They are some times the cost of today's usual values.
const (
	maxArgon2Memory = 1 << 20 // KiB
	maxArgon2Passes = 64
	maxArgon2Work   = 8 << 20 // KiB times passes
	maxArgon2Lanes  = 64
	maxBcryptCost   = 16
	minBcryptCost   = 5 // htpasswd's own default
	maxSHARounds    = 5_000_000
	minSHARounds    = 1000 // crypt(5) has no less
)

// ErrWeak says that a hash is in a form that is too weak to be served.
var ErrWeak = errors.New("the form is too weak or unknown: use argon2id, bcrypt, SHA-512-crypt or yescrypt (mailstead hash-password makes one)")

// Hash is a password hash in one of the forms of crypt(5) that are accepted.
type Hash struct {
	cost   string // what determines the time that verify takes
	verify func(password []byte) bool
	whole  int // octets of a password that count; 0: all

	verifier *sasl.Verifier // where it is one
}

// Verify says whether it is the hash of password. It takes the time that the
// form is made to take, whatever the answer.
func (h Hash) Verify(password string) bool { return h.verify([]byte(password)) }

// form is a row of the table of accepted forms.
type form struct {
	prefix string
	parse  func(s string) (Hash, error)
}

var forms = []form{
	{"$argon2id$", parseArgon2id},
	{"$y$", parseYescrypt},
	{"$6$", shaCrypt("sha512", "$6$", 86, sha512.New)},
	{"$2a$", parseBcrypt},
	{"$2b$", parseBcrypt},
	{"$2y$", parseBcrypt},
	{sasl.VerifierPrefix, parseVerifier},
}

// ParseHash reads a hash; weak names the weak schemes that are accepted besides. The
// error is ErrWeak where no accepted form has its prefix; no error repeats any of it.
func ParseHash(s string, weak ...string) (Hash, error) {
	for _, f := range forms {
		if strings.HasPrefix(s, f.prefix) {
			h, err := f.parse(s)
			if err != nil {
				return Hash{}, fmt.Errorf("hash %s: %w", f.prefix, err)
			}
			return h, nil
		}
	}
	return parseWeak(s, weak)
}

var argon2id = config.Pattern(`^\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

func parseArgon2id(s string) (Hash, error) {
	m := argon2id().FindStringSubmatch(s)
	if m == nil {
		return Hash{}, errors.New("not $argon2id$v=19$m=MEMORY,t=PASSES,p=LANES$SALT$HASH")
	}
	memory, passes, lanes := number(m[1]), number(m[2]), number(m[3])
	if lanes < 1 || lanes > maxArgon2Lanes || memory < 8*lanes || memory > maxArgon2Memory ||
		passes < 1 || passes > maxArgon2Passes || memory*passes > maxArgon2Work {
		return Hash{}, fmt.Errorf("cost m=%d,t=%d,p=%d is out of bounds", memory, passes, lanes)
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(m[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return Hash{}, errors.New("the salt is not 8 to 64 octets of base64")
	}
	want, err := base64.RawStdEncoding.Strict().DecodeString(m[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return Hash{}, errors.New("the hash is not 16 to 64 octets of base64")
	}
	return Hash{
		cost: fmt.Sprintf("argon2id %d %d %d", memory, passes, lanes),
		verify: func(password []byte) bool {
			got := argon2.IDKey(password, salt, uint32(passes), uint32(memory), uint8(lanes), uint32(len(want)))
			return subtle.ConstantTimeCompare(got, want) == 1
		},
	}, nil
}

// number reads digits that a regular expression has bounded.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

var bcryptForm = config.Pattern(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

func parseBcrypt(s string) (Hash, error) {
	m := bcryptForm().FindStringSubmatch(s)
	if m == nil {
		return Hash{}, errors.New("not $2b$COST$ and 53 characters")
	}
	if cost := number(m[1]); cost < minBcryptCost || cost > maxBcryptCost {
		return Hash{}, fmt.Errorf("cost %d is not between %d and %d", cost, minBcryptCost, maxBcryptCost)
	}
	want := []byte(s)
	return Hash{
		cost:  "bcrypt " + m[1],
		whole: 72,
		verify: func(password []byte) bool {
			return bcrypt.CompareHashAndPassword(want, password) == nil
		},
	}, nil
}

// shaCrypt reads one of the two forms of SHA-crypt (crypt(5)), whose hash has so many
// characters.
func shaCrypt(name, prefix string, characters int, digest func() hash.Hash) func(string) (Hash, error) {
	form := config.Pattern(fmt.Sprintf(`^(?:rounds=([1-9][0-9]{0,8})\$)?([^$:\n]{1,16})\$([./A-Za-z0-9]{%d})$`, characters))
	frugal := func() hash.Hash { return &sums{Hash: digest()} }
	return func(s string) (Hash, error) {
		m := form().FindStringSubmatch(strings.TrimPrefix(s, prefix))
		if m == nil {
			return Hash{}, fmt.Errorf("not %[1]sSALT$HASH or %[1]srounds=N$SALT$HASH", prefix)
		}
		rounds := 5000
		if m[1] != "" {
			rounds = number(m[1])
		}
		if rounds < minSHARounds || rounds > maxSHARounds {
			return Hash{}, fmt.Errorf("rounds=%d is not between %d and %d", rounds, minSHARounds, maxSHARounds)
		}
		salt, want := []byte(m[2]), []byte(m[3])
		return Hash{cost: fmt.Sprintf("%s %d", name, rounds), verify: func(password []byte) bool {
			return subtle.ConstantTimeCompare(shacrypt.KeySHACrypt(frugal, password, salt, rounds), want) == 1
		}}, nil
	}
}

// sums is a digest whose sums lie where others were before: SHA-crypt makes one in each
// of thousands of rounds, and holds three at once at the most.
type sums struct {
	hash.Hash
	held [4][sha512.Size]byte
	next int
}

func (s *sums) Sum(b []byte) []byte {
	if b != nil {
		return s.Hash.Sum(b)
	}
	s.next = (s.next + 1) % len(s.held)
	return s.Hash.Sum(s.held[s.next][:0])
}

var yescryptForm = config.Pattern(`^\$y\$(j[./0-9A-Z])([./0-9A-Za-z])\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}$`)

func parseYescrypt(s string) (Hash, error) {
	m := yescryptForm().FindStringSubmatch(s)
	if m == nil {
		return Hash{}, errors.New("not $y$jNR$SALT$HASH as mkpasswd and passwd make it")
	}
	want := []byte(s)
	if err := probeYescrypt(m[1]+m[2], want); err != nil {
		return Hash{}, err
	}
	return Hash{
		cost: "yescrypt " + m[1] + m[2],
		verify: func(password []byte) bool {
			got, err := yescrypt.Hash(password, want)
			return err == nil && subtle.ConstantTimeCompare(got, want) == 1
		},
	}, nil
}

// parseVerifier takes the verifier of SCRAM for a hash, which it is as well:
// PBKDF2 of so many iterations.
func parseVerifier(s string) (Hash, error) {
	v, err := sasl.ParseVerifier(s)
	if err != nil {
		return Hash{}, err
	}
	return Hash{
		cost:     fmt.Sprintf("scram %d", v.Iterations),
		verify:   func(password []byte) bool { return v.Verify(string(password)) },
		verifier: &v,
	}, nil
}

// probeYescrypt finds what yescrypt.Hash would refuse at a login, without the
// work of a hash: the cost (N up to 2^18, r up to 32, together up to 256 MiB)
// and the salt.
func probeYescrypt(setting string, s []byte) error {
	_, logN, r, err := yescrypt.DecodeSetting([]byte(setting))
	if err != nil {
		return errors.New("unknown parameters")
	}
	if logN < 10 || logN > 18 || r < 1 || r > 32 || (r*128)<<logN > 256<<20 {
		return fmt.Errorf("cost N=2^%d, r=%d is out of bounds", logN, r)
	}
	if yescrypt.Decode64(s[len("$y$jNR$"):bytes.LastIndexByte(s, '$')]) == nil {
		return errors.New("the salt is not in crypt(5)'s base64")
	}
	return nil
}

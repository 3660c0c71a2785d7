package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
)

// VerifierPrefix begins a Verifier as text.
const VerifierPrefix = "SCRAM-SHA-256$"

// The bounds of the iterations of a verifier. RFC 7677 §4 has the least, and the
// client does the work, which may be a phone.
const (
	MinIterations = 4096
	MaxIterations = 1_000_000
	UseIterations = 10_000 // of those that are made here
)

// Verifier is what a server keeps of a password for SCRAM-SHA-256 (RFC 5802 §3). Who
// has it cannot log in with it, but may guess passwords against it.
type Verifier struct {
	Iterations           int
	Salt                 []byte
	StoredKey, ServerKey [sha256.Size]byte
}

// MakeVerifier makes a verifier of a password, which it prepares.
func MakeVerifier(password string, salt []byte, iterations int) (Verifier, error) {
	prepared, err := Prepare(password)
	if err != nil {
		return Verifier{}, err
	}
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return Verifier{}, fmt.Errorf("make verifier: %w", err)
	}
	v := Verifier{Iterations: iterations, Salt: salt}
	v.StoredKey = sha256.Sum256(sign(salted, "Client Key"))
	copy(v.ServerKey[:], sign(salted, "Server Key"))
	return v, nil
}

func sign(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Verify says whether it is the verifier of a password that was presented as such.
func (v Verifier) Verify(password string) bool {
	got, err := MakeVerifier(password, v.Salt, v.Iterations)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey[:], v.StoredKey[:]) == 1
}

// String is the form in which PostgreSQL has it, too: the name of the mechanism,
// iterations and salt, StoredKey and ServerKey.
func (v Verifier) String() string {
	b := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", VerifierPrefix, v.Iterations, b(v.Salt), b(v.StoredKey[:]), b(v.ServerKey[:]))
}

var verifier = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^SCRAM-SHA-256\$([1-9][0-9]{3,6}):([A-Za-z0-9+/]{11,86}={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)$`)
})

// ParseVerifier reads what String writes. No error repeats any of it.
func ParseVerifier(s string) (Verifier, error) {
	m := verifier().FindStringSubmatch(s)
	if m == nil {
		return Verifier{}, errors.New("not SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")
	}
	var v Verifier
	v.Iterations, _ = strconv.Atoi(m[1])
	if v.Iterations < MinIterations || v.Iterations > MaxIterations {
		return Verifier{}, fmt.Errorf("%d iterations are not between %d and %d", v.Iterations, MinIterations, MaxIterations)
	}
	strict := base64.StdEncoding.Strict()
	salt, err := strict.DecodeString(m[2])
	stored, err1 := strict.DecodeString(m[3])
	server, err2 := strict.DecodeString(m[4])
	if errors.Join(err, err1, err2) != nil || len(salt) < 8 {
		return Verifier{}, errors.New("a part is not base64, or the salt has less than 8 octets")
	}
	v.Salt = salt
	copy(v.StoredKey[:], stored)
	copy(v.ServerKey[:], server)
	return v, nil
}

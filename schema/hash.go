package schema

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-crypt/x/yescrypt"
)

// The costs of password hashes that are accepted: below, guessing is cheap;
// above, one login can bring the server down. All are within those of the daemon
// (imapserver/auth), as the forms are: what is valid here is served. A test of cmd/mailstead,
// which may import both, compares them.
const (
	minBcrypt, maxBcrypt           = 10, 15
	minSCRAM, maxSCRAM             = 4096, 1_000_000 // RFC 7677 §4
	minSHA512, maxSHA512           = 5000, 5_000_000
	minArgonWork                   = 7168 * 5 // KiB times passes: the least that OWASP names
	minArgonMemory, maxArgonMemory = 7168, 1 << 20
	maxArgonTime, maxArgonThreads  = 16, 16
	maxArgonWork                   = 8 << 20
	minYescryptN, maxYescryptN     = 10, 18 // powers of two
	maxYescryptR                   = 32
	maxYescryptMemory              = 256 << 20
	minYescryptSalt                = 11 // characters
)

var (
	argon2id     = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,8}),t=([1-9][0-9]{0,8}),p=([1-9][0-9]{0,8})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$`)
	bcrypt       = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	sha512       = regexp.MustCompile(`^\$6\$(?:rounds=([1-9][0-9]{0,8})\$)?([^$:\n]{1,16})\$[./A-Za-z0-9]{86}$`)
	verifier     = regexp.MustCompile(`^SCRAM-SHA-256\$([1-9][0-9]{0,8}):([A-Za-z0-9+/]{11,86}={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)$`)
	yescryptForm = regexp.MustCompile(`^\$y\$(j[./0-9A-Z][./0-9A-Za-z])\$([./A-Za-z0-9]{1,86})\$[./A-Za-z0-9]{43}$`)

	usualSalt = regexp.MustCompile(`^[./A-Za-z0-9]{8,}$`)
)

// schemes are the forms of a password hash by their beginning. Those without a
// check are refused.
var schemes = []struct {
	prefix string
	name   string
	check  func(hash string) string // what is wrong with it; "" for nothing
}{
	{"$argon2id$", "argon2id", checkArgon2id},
	{"$2a$", "bcrypt", checkBcrypt},
	{"$2b$", "bcrypt", checkBcrypt},
	{"$2y$", "bcrypt", checkBcrypt},
	{"$6$", "SHA-512-crypt", checkSHA512},
	{"$y$", "yescrypt", checkYescrypt},
	{"SCRAM-SHA-256$", "a verifier of SCRAM-SHA-256", checkVerifier},
	{"$1$", "MD5-crypt", nil},
	{"$apr1$", "Apache's MD5-crypt", nil},
	{"$5$", "SHA-256-crypt", nil},
	{"$2x$", "bcrypt with a known fault", nil},
	{"$argon2", "argon2 in a form other than argon2id", nil},
	{"$gy$", "gost-yescrypt", nil},
	{"$7$", "scrypt", nil},
	{"$sha1$", "SHA-1-crypt", nil},
	{"$pbkdf2", "PBKDF2", nil},
	{"$3$", "the NT hash", nil},
	{"_", "extended DES-crypt", nil},
}

const hashHint = `"mailstead hash-password" makes one`

var scheme = regexp.MustCompile(`^\{[A-Za-z0-9.-]+\}`)

// written is how Dovecot writes the forms above: a scheme in braces, and then what
// crypt(5) has. "CRYPT" may be any of them.
var written = map[string]string{
	"ARGON2ID": "$argon2id$", "BLF-CRYPT": "$2", "SHA512-CRYPT": "$6$", "SHA256-CRYPT": "$5$", "MD5-CRYPT": "$1$", "CRYPT": "$",
}

// withoutScheme takes Dovecot's scheme off a hash that says by itself what it is.
func withoutScheme(hash string) string {
	name := strings.Trim(scheme.FindString(hash), "{}")
	rest := strings.TrimPrefix(hash, "{"+name+"}")
	if prefix, ok := written[name]; ok && strings.HasPrefix(rest, prefix) {
		return rest
	}
	if parts := strings.Split(rest, ","); name == "SCRAM-SHA-256" && len(parts) == 4 {
		return fmt.Sprintf("SCRAM-SHA-256$%s:%s$%s:%s", parts[0], parts[1], parts[2], parts[3])
	}
	return hash
}

// weakPrefixes are how the weak schemes begin that have no name in braces here.
var weakPrefixes = map[string]string{"MD5-CRYPT": "$1$", "SHA256-CRYPT": "$5$"}

// WeakScheme names the scheme of a hash in crypt(5) form that is accepted only where
// logins.weak has it; "" if there is none.
func WeakScheme(hash string) string {
	for name, prefix := range weakPrefixes {
		if strings.HasPrefix(hash, prefix) {
			return name
		}
	}
	return ""
}

// named tells whether a hash is of one of the weak schemes that the host names.
func named(hash string, weak []string) bool {
	return slices.ContainsFunc(weak, func(name string) bool {
		prefix := cmp.Or(weakPrefixes[name], "{"+name+"}")
		return len(hash) > len(prefix) && strings.HasPrefix(hash, prefix)
	})
}

// checkHash says what is wrong with a password hash, and what to do. Neither
// holds any part of it. weak names the schemes that the host accepts although they are.
func checkHash(given string, weak []string) (wrong, hint string) {
	hash := withoutScheme(given)
	switch {
	case hash == "":
		return "is empty: that is no password", hashHint
	case hash[0] == '!' || hash[0] == '*':
		return "is locked, as passwd writes it", "remove the user to keep them from logging in; the mail stays"
	case named(hash, weak):
		return "", "" // its form is looked at by the daemon, before it is applied
	case scheme.MatchString(hash) && strings.Contains(hash, "}$"):
		return "begins with a scheme in braces that is not that of the hash", "leave out everything before the first $"
	case scheme.MatchString(hash):
		return "is of a scheme that is not accepted", hashHint + ", and logins: weak: names those that are accepted although they are weak"
	}
	for _, s := range schemes {
		if !strings.HasPrefix(hash, s.prefix) {
			continue
		}
		if s.check == nil {
			if name := WeakScheme(hash); name != "" {
				return fmt.Sprintf("is %s, which is not accepted", s.name), fmt.Sprintf("%s, and logins: weak: [%q] accepts it until its user has logged in", hashHint, name)
			}
			return fmt.Sprintf("is %s, which is not accepted", s.name), hashHint
		}
		if wrong := s.check(hash); wrong != "" {
			return fmt.Sprintf("is %s, but %s", s.name, wrong), hashHint
		}
		return "", ""
	}
	return "is no password hash: argon2id, bcrypt, SHA-512-crypt, yescrypt and verifiers of SCRAM-SHA-256 are accepted", hashHint
}

const malformed = "its form is wrong: it may have been cut"

func checkArgon2id(hash string) string {
	m := argon2id.FindStringSubmatch(hash)
	if m == nil {
		return malformed
	}
	memory, passes, threads := number(m[1]), number(m[2]), number(m[3])
	for _, part := range m[4:] { // strict, since what is cut off leaves bits that mean nothing
		if _, err := base64.RawStdEncoding.Strict().DecodeString(part); err != nil {
			return malformed
		}
	}
	switch {
	case memory < minArgonMemory || memory*passes < minArgonWork:
		return fmt.Sprintf("m=%d,t=%d is too weak: m=19456,t=2 is usual", memory, passes)
	case memory > maxArgonMemory || passes > maxArgonTime || threads > maxArgonThreads || memory*passes > maxArgonWork:
		return fmt.Sprintf("m=%d,t=%d,p=%d would take too much of the server for one login", memory, passes, threads)
	}
	return ""
}

func checkBcrypt(hash string) string {
	m := bcrypt.FindStringSubmatch(hash)
	if m == nil {
		return malformed
	}
	switch cost := number(m[1]); {
	case cost < minBcrypt:
		return fmt.Sprintf("its cost of %d is too weak: it must be at least %d", cost, minBcrypt)
	case cost > maxBcrypt:
		return fmt.Sprintf("its cost of %d would take too much of the server for one login: it may be at most %d", cost, maxBcrypt)
	}
	return ""
}

func checkSHA512(hash string) string {
	m := sha512.FindStringSubmatch(hash)
	if m == nil {
		return malformed
	}
	switch rounds := number(m[1]); {
	case !usualSalt.MatchString(m[2]):
		return "its salt is too weak: it must be at least 8 letters, digits, dots and slashes"
	case m[1] == "": // 5000
	case rounds < minSHA512:
		return fmt.Sprintf("its %d rounds are too weak: there must be at least %d", rounds, minSHA512)
	case rounds > maxSHA512:
		return fmt.Sprintf("its %d rounds would take too much of the server for one login: there may be at most %d", rounds, maxSHA512)
	}
	return ""
}

func checkYescrypt(hash string) string {
	m := yescryptForm.FindStringSubmatch(hash)
	if m == nil || yescrypt.Decode64([]byte(m[2])) == nil {
		return malformed
	}
	_, n, r, err := yescrypt.DecodeSetting([]byte(m[1]))
	switch {
	case err != nil:
		return malformed
	case n < minYescryptN:
		return fmt.Sprintf("N=2^%d is too weak: it must be at least 2^%d", n, minYescryptN)
	case n > maxYescryptN || r > maxYescryptR || r*128<<n > maxYescryptMemory:
		return fmt.Sprintf("N=2^%d, r=%d would take too much of the server for one login", n, r)
	case len(m[2]) < minYescryptSalt:
		return fmt.Sprintf("its salt is too weak: it must be at least %d characters", minYescryptSalt)
	}
	return ""
}

func checkVerifier(hash string) string {
	m := verifier.FindStringSubmatch(hash)
	if m == nil {
		return malformed
	}
	for _, part := range m[2:] {
		if _, err := base64.StdEncoding.Strict().DecodeString(part); err != nil {
			return malformed
		}
	}
	switch iterations := number(m[1]); {
	case iterations < minSCRAM:
		return fmt.Sprintf("its %d iterations are too weak: there must be at least %d", iterations, minSCRAM)
	case iterations > maxSCRAM:
		return fmt.Sprintf("its %d iterations would keep clients busy for long: there may be at most %d", iterations, maxSCRAM)
	}
	return ""
}

// number reads digits that a regular expression has found.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

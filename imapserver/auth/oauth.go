package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// The mechanisms that take a token.
const (
	oauthBearer = "OAUTHBEARER"
	xoauth2     = "XOAUTH2"
)

const (
	maxToken = 8 << 10          // octets; those of large issuers have two thousand
	maxKeys  = 1 << 20          // octets of a JWK set
	skew     = time.Minute      // between the issuer's clock and ours
	keysLook = 10 * time.Second // between two looks whether the keys are others
)

// issuer checks tokens. Its keys are a file that somebody else keeps fresh: auth
// asks no server on the network whom it shall believe.
type issuer struct {
	config  config.Issuer
	log     *slog.Logger
	methods []jose.SignatureAlgorithm

	mu     sync.Mutex
	keys   jose.JSONWebKeySet
	file   os.FileInfo // that keys were read from; nil before
	looked time.Time
	fault  string // of the last look, as the log has it
}

// newIssuer makes the issuer of a configuration, or goes on with old, whose keys are in
// force, where it is the same. Without keys no token is accepted until there are some.
func newIssuer(c *config.Issuer, old *issuer, log *slog.Logger) *issuer {
	if c == nil {
		return nil
	}
	i := old
	if i == nil || !reflect.DeepEqual(i.config, *c) {
		i = &issuer{config: *c, log: log}
		for _, m := range c.Methods {
			i.methods = append(i.methods, jose.SignatureAlgorithm(m))
		}
	}
	i.mu.Lock()
	i.looked = time.Time{}
	i.mu.Unlock()
	i.current(time.Now())
	return i
}

// errNoKeys is no answer about a token.
var errNoKeys = errors.New("token: there are no keys of the issuer to check it by")

// CheckKeys tells why the keys of the issuer of tokens could not be read, without which a
// start or a reload goes on.
func CheckKeys(l *config.Logins) error {
	if l == nil || l.Issuer == nil {
		return nil
	}
	return (&issuer{config: *l.Issuer}).read()
}

// current gives the keys, read again where the file is another one. One that cannot
// be read leaves those that there are, and is logged once.
func (i *issuer) current(now time.Time) jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Sub(i.looked) < keysLook {
		return i.keys
	}
	i.looked = now
	fault := ""
	if err := i.read(); err != nil {
		fault = err.Error()
	}
	switch {
	case fault == i.fault || fault == "":
	case len(i.keys.Keys) == 0:
		i.log.Error("no token is accepted: there are no keys of the issuer", "err", fault)
	default:
		i.log.Warn("the last keys that could be read stay in force", "err", fault)
	}
	i.fault = fault
	return i.keys
}

// read reads the keys, if the file is another one. The caller holds mu.
func (i *issuer) read() error {
	info, err := os.Stat(i.config.Keys)
	if err == nil && i.file != nil && os.SameFile(info, i.file) && info.ModTime().Equal(i.file.ModTime()) && info.Size() == i.file.Size() {
		return nil
	}
	var keys jose.JSONWebKeySet
	if err == nil {
		keys, err = readKeys(i.config.Keys)
	}
	if err != nil {
		return fmt.Errorf("keys of the issuer: %w", err)
	}
	i.keys, i.file = keys, info
	return nil
}

// readKeys reads the public keys of a JWK set. Secret ones are left out: whoever
// checks by them could make tokens, and so could who reads the file.
func readKeys(path string) (set jose.JSONWebKeySet, err error) {
	data, err := readFile(path, maxKeys)
	if err != nil {
		return set, err
	}
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return set, fmt.Errorf("%s: %w", path, err)
	}
	for _, each := range raw.Keys {
		var k jose.JSONWebKey // one of a kind that is not known is somebody else's
		if k.UnmarshalJSON(each) == nil && k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			set.Keys = append(set.Keys, k)
		}
	}
	if len(set.Keys) == 0 {
		return set, fmt.Errorf("%s: no public key for signatures is in it", path)
	}
	return set, nil
}

// verify gives the name of the user whose token it is.
func (i *issuer) verify(user, token string, now time.Time) (string, error) {
	if len(token) > maxToken {
		return "", fmt.Errorf("token of more than %d octets", maxToken)
	}
	t, err := jwt.ParseSigned(token, i.methods) // which refuses any other signature
	if err != nil || len(t.Headers) != 1 {
		return "", fmt.Errorf("token: %w", errors.Join(err, errForm(err)))
	}
	keys := i.current(now)
	if len(keys.Keys) == 0 {
		return "", errNoKeys
	}
	key, err := choose(keys, t.Headers[0])
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	var all map[string]any
	if err := t.Claims(key, &claims, &all); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	if claims.Expiry == nil {
		return "", errors.New("token: it never expires")
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: i.config.Name, AnyAudience: jwt.Audience{i.config.Audience}, Time: now}, skew); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return i.name(user, all)
}

func errForm(err error) error {
	if err == nil {
		return errors.New("it has more than one signature")
	}
	return nil
}

// choose gives the key that a token names, or the only one of its method.
func choose(keys jose.JSONWebKeySet, h jose.Header) (*jose.JSONWebKey, error) {
	var found *jose.JSONWebKey
	for k := range keys.Keys {
		key := &keys.Keys[k]
		if h.KeyID != "" && key.KeyID != h.KeyID || key.Algorithm != "" && key.Algorithm != h.Algorithm {
			continue
		}
		if found != nil {
			return nil, errors.New("token: it does not say which of the keys signed it")
		}
		found = key
	}
	if found == nil {
		return nil, errors.New("token: signed by a key that is not the issuer's")
	}
	return found, nil
}

// name takes the user's name out of the claims. A client that says who it is has to
// say the same.
func (i *issuer) name(user string, claims map[string]any) (string, error) {
	name, _ := claims[i.config.Claim].(string)
	if sasl.Check(sasl.Credentials{User: name, Password: "-"}) != nil {
		return "", fmt.Errorf("token: no user in the claim %q", i.config.Claim)
	}
	if verified, said := claims["email_verified"]; said && i.config.Claim == "email" && verified != true {
		return "", errors.New("token: the issuer has not verified the address")
	}
	if user != "" && user != name {
		return "", errors.New("token: of another user than the client says")
	}
	return name, nil
}

// bearer begins an exchange by a token.
func (i *issuer) bearer(c *handoff.Credentials) *sasl.Bearer {
	fault := map[string]string{"status": "invalid_token"} // RFC 7628 §3.2.2
	if i.config.Scope != "" {
		fault["scope"] = i.config.Scope
	}
	if c.Mechanism == xoauth2 {
		fault["status"], fault["schemes"] = "401", "bearer"
	}
	text, err := json.Marshal(fault)
	if err != nil {
		text = []byte("{}") // strings are never at fault
	}
	return &sasl.Bearer{
		Old:    c.Mechanism == xoauth2,
		Verify: func(user, token string) (string, error) { return i.verify(user, token, time.Now()) },
		Fault:  string(text),
	}
}

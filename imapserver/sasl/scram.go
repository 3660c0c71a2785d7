package sasl

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// What is wrong with an exchange of SCRAM, beside its syntax.
var (
	ErrProof   = errors.New("wrong password") // or there is no such user
	ErrBinding = errors.New("the exchange is not bound to this connection")
)

// SCRAM is the server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802,
// RFC 7677). Its fields are set before the first response.
type SCRAM struct {
	Plus     bool              // channel binding is part of the mechanism
	Offered  bool              // the mechanism with it is offered on this connection
	Bindings map[string][]byte // of the connection, by name
	Nonce    string            // our part: printable, of no other exchange
	// Lookup gives the verifier of a user. For one that there is not it gives one that
	// no password has, the same each time.
	Lookup func(user string) Verifier

	// User and For are who logs in and for whom, once the first response was taken;
	// For is "" for nobody else.
	User, For string

	step     int
	verifier Verifier
	header   string // gs2-header
	binding  []byte // what c= has after it
	nonce    string // both parts
	signed   string // AuthMessage, as far as it is known
}

// The steps of SCRAM.
const (
	scramFirst = iota
	scramFinal
	scramAnswer // to the server's own proof
	scramOver
)

// Next is Mechanism's. IMAP has no place for data in the last answer, so what the
// server proves is a challenge, whose response is empty (RFC 9051 §6.2.2).
func (s *SCRAM) Next(response []byte) (challenge []byte, done bool, err error) {
	step := s.step
	s.step = scramOver // unless it goes on
	switch step {
	case scramFirst:
		if response == nil {
			s.step = scramFirst
			return []byte{}, false, nil
		}
		challenge, err = s.first(string(response))
		s.step = scramFinal
	case scramFinal:
		challenge, err = s.final(string(response))
		s.step = scramAnswer
	case scramAnswer:
		if len(response) > 0 {
			return nil, false, ErrSyntax
		}
		return nil, true, nil
	default:
		err = ErrEnded
	}
	if err != nil {
		s.step = scramOver
		return nil, false, err
	}
	return challenge, false, nil
}

// first takes client-first-message.
func (s *SCRAM) first(m string) (challenge []byte, err error) {
	flag, rest, ok1 := strings.Cut(m, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 {
		return nil, ErrSyntax
	}
	s.header = m[:len(m)-len(bare)]
	if authzid != "" {
		if s.For, err = name(strings.CutPrefix(authzid, "a=")); err != nil {
			return nil, err
		}
	}
	fields := strings.Split(bare, ",")
	if len(fields) < 2 { // "m=" first is an extension that whoever does not know it has to refuse
		return nil, ErrSyntax
	}
	if s.User, err = name(strings.CutPrefix(fields[0], "n=")); err != nil {
		return nil, err
	}
	nonce, ok := strings.CutPrefix(fields[1], "r=")
	if !ok || nonce == "" || len(nonce) > 512 || strings.ContainsFunc(nonce, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, ErrSyntax
	}
	if s.For == s.User {
		s.For = ""
	}
	if err := s.bind(flag); err != nil {
		return nil, err // whose it was is known by now
	}
	s.verifier = s.Lookup(s.User)
	s.nonce = nonce + s.Nonce
	server := fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.verifier.Salt), s.verifier.Iterations)
	s.signed = bare + "," + server
	return []byte(server), nil
}

// bind takes the flag of channel binding (RFC 5802 §6).
func (s *SCRAM) bind(flag string) error {
	kind, bound := strings.CutPrefix(flag, "p=")
	switch {
	case bound && s.Plus:
		if s.binding = s.Bindings[kind]; s.binding == nil {
			return ErrBinding
		}
	case s.Plus, bound:
		return ErrSyntax
	case flag == "y" && s.Offered:
		return ErrBinding // somebody has taken -PLUS out of what we offered
	case flag != "n" && flag != "y":
		return ErrSyntax
	}
	return nil
}

// name takes a user name in which "," and "=" are written =2C and =3D.
func name(s string, ok bool) (string, error) {
	plain := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s)
	if !ok || strings.Count(s, "=") != strings.Count(s, "=2C")+strings.Count(s, "=3D") {
		return "", ErrSyntax
	}
	return plain, Check(Credentials{User: plain, Password: "-"})
}

// final takes client-final-message.
func (s *SCRAM) final(m string) (challenge []byte, err error) {
	i := strings.LastIndex(m, ",p=")
	if i < 0 {
		return nil, ErrSyntax
	}
	fields := strings.Split(m[:i], ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "c=") || fields[1] != "r="+s.nonce {
		return nil, ErrSyntax
	}
	strict := base64.StdEncoding.Strict()
	proof, err := strict.DecodeString(m[i+len(",p="):])
	if err != nil || len(proof) != sha256.Size {
		return nil, ErrSyntax
	}
	bound, err := strict.DecodeString(fields[0][len("c="):])
	if err != nil {
		return nil, ErrSyntax
	}
	if !bytes.Equal(bound, append([]byte(s.header), s.binding...)) {
		return nil, ErrBinding
	}
	signed := s.signed + "," + m[:i]
	key := sign(s.verifier.StoredKey[:], signed)
	subtle.XORBytes(key, key, proof)
	if stored := sha256.Sum256(key); subtle.ConstantTimeCompare(stored[:], s.verifier.StoredKey[:]) != 1 {
		return nil, ErrProof
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(sign(s.verifier.ServerKey[:], signed))), nil
}

// Credentials is Mechanism's; it has no password.
func (s *SCRAM) Credentials() Credentials { return Credentials{User: s.User, For: s.For} }

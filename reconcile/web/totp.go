package web

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The form of codes that every app for them knows (RFC 6238 §4, RFC 4226 §5.3).
const (
	totpStep   = 30 * time.Second
	totpDigits = 6
	minTOTP    = 16 // octets of a secret (RFC 4226 §4, R6)
)

// TOTP is the secret of somebody's codes.
type TOTP []byte

var totpText = base32.StdEncoding.WithPadding(base32.NoPadding)

// ParseTOTP reads a secret in base32; blanks in it do not count. No error repeats any of it.
func ParseTOTP(text string) (TOTP, error) {
	secret, err := totpText.DecodeString(strings.ToUpper(strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")))
	if err != nil {
		return nil, errors.New("the secret of codes is not in base32")
	}
	if len(secret) < minTOTP {
		return nil, fmt.Errorf("the secret of codes has %d octets, less than %d", len(secret), minTOTP)
	}
	return secret, nil
}

// String gives the secret in base32.
func (t TOTP) String() string { return totpText.EncodeToString(t) }

// URL gives the secret as apps take it from a picture.
func (t TOTP) URL(host, name string) string {
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + host + ":" + name}
	u.RawQuery = url.Values{"secret": {t.String()}, "issuer": {host}}.Encode()
	return u.String()
}

// Code gives the code of a step (RFC 4226 §5.3).
func (t TOTP) Code(step int64) string {
	mac := hmac.New(sha1.New, t)
	binary.Write(mac, binary.BigEndian, step)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%0*d", totpDigits, (binary.BigEndian.Uint32(sum[at:])&0x7fffffff)%1_000_000)
}

// Check finds the step that a code is of, of those around now that come after last: a
// code is good once (RFC 6238 §5.2).
func (t TOTP) Check(code string, now time.Time, last int64) (step int64, ok bool) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	current := now.Unix() / int64(totpStep/time.Second)
	for s := current - 1; s <= current+1; s++ {
		if s > last && subtle.ConstantTimeCompare([]byte(t.Code(s)), []byte(code)) == 1 {
			return s, true
		}
	}
	return 0, false
}

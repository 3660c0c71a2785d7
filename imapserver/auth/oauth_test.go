package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// issuing is an issuer of tokens: an HTTP server that signs claims and shows its keys.
type issuing struct {
	*httptest.Server
	t    *testing.T
	keys map[string]jose.SigningKey // by kid
	file string                     // that somebody keeps fresh
}

func newIssuing(t *testing.T) *issuing {
	t.Helper()
	i := &issuing{t: t, keys: map[string]jose.SigningKey{}, file: filepath.Join(t.TempDir(), "keys.json")}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.keys["r"] = jose.SigningKey{Algorithm: jose.RS256, Key: r}
	i.keys["e"] = jose.SigningKey{Algorithm: jose.ES256, Key: e}
	i.keys["d"] = jose.SigningKey{Algorithm: jose.EdDSA, Key: d}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(i.set()) })
	mux.HandleFunc("POST /token/{kid}", func(w http.ResponseWriter, q *http.Request) {
		claims, _ := io.ReadAll(q.Body)
		io.WriteString(w, i.sign(i.keys[q.PathValue("kid")], q.PathValue("kid"), claims))
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	i.fetch()
	return i
}

func (i *issuing) set() jose.JSONWebKeySet {
	// A secret key is in it, too, as an issuer should not have it.
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "secret", Algorithm: "HS256"}}}
	for kid, k := range i.keys {
		public := k.Key.(crypto.Signer).Public()
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: string(k.Algorithm), Use: "sig"})
	}
	return set
}

// fetch does what keeps the file fresh.
func (i *issuing) fetch() {
	i.t.Helper()
	answer, err := http.Get(i.URL + "/keys")
	if err != nil {
		i.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err == nil {
		err = os.WriteFile(i.file+".new", data, 0o644)
	}
	if err == nil {
		err = os.Rename(i.file+".new", i.file)
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

func (i *issuing) sign(k jose.SigningKey, kid string, claims []byte) string {
	options := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(k, options)
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := s.Sign(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// claims are good ones, changed.
func (i *issuing) claims(change map[string]any) string {
	now := time.Now()
	all := map[string]any{"iss": i.URL, "aud": []string{"others", "imap"}, "sub": "4711", "email": "alice", "email_verified": true, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	for name, value := range change {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// token asks the issuer for one.
func (i *issuing) token(kid string, change map[string]any) string {
	i.t.Helper()
	answer, err := http.Post(i.URL+"/token/"+kid, "application/json", strings.NewReader(i.claims(change)))
	if err != nil {
		i.t.Fatal(err)
	}
	defer answer.Body.Close()
	token, err := io.ReadAll(answer.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(token)
}

// bear presents a token, and gives what the client is told of it by a challenge.
func bear(a *Auth, mechanism, response string) (v handoff.Verdict, fault string) {
	v = step(a, "192.0.2.1", mechanism, &handoff.Exchange{Response: []byte(response)})
	if v.Exchange == "" {
		return v, ""
	}
	fault = v.Challenge
	return step(a, "192.0.2.1", mechanism, &handoff.Exchange{ID: v.Exchange, Response: []byte("\x01")}), fault
}

func oauth(user, token string) string {
	return "n,a=" + user + ",\x01host=mail.example\x01port=993\x01auth=Bearer " + token + "\x01\x01"
}

func newBearing(t *testing.T) (*issuing, *Auth, *journal) {
	i := newIssuing(t)
	a, log := newBearingBy(t, i)
	return i, a, log
}

func newBearingBy(t *testing.T, i *issuing) (*Auth, *journal) {
	c := config.Logins{Issuer: &config.Issuer{Name: i.URL, Audience: "imap", Keys: i.file, Claim: "email", Scope: "mail", Methods: config.IssuerMethods}}
	return newProving(t, c, nil, virtual(t, "alice", "right"), virtual(t, "bob", "right"))
}

func TestTokens(t *testing.T) {
	i, a, log := newBearing(t)
	in := handoff.Verdict{User: "alice"}
	for kid := range i.keys {
		token := i.token(kid, nil)
		for _, response := range []string{oauth("alice", token), "n,,\x01auth=Bearer " + token + "\x01\x01", "y,,\x01auth=bearer " + token + "\x01\x01"} {
			if v, fault := bear(a, oauthBearer, response); v != in || fault != "" {
				t.Errorf("%s, %.20q: %+v %s\n%s", kid, response, v, fault, log)
			}
		}
		if v, fault := bear(a, xoauth2, "user=alice\x01auth=Bearer "+token+"\x01\x01"); v != in || fault != "" {
			t.Errorf("%s: %+v %s", kid, v, fault)
		}
	}
	if v, _ := bear(a, oauthBearer, oauth("alice", i.token("e", map[string]any{"aud": "imap"}))); v != in {
		t.Errorf("one audience: %+v", v)
	}
	for _, bad := range []string{
		"", "\x01\x01", "n,,\x01\x01", "n,,\x01auth=Bearer \x01\x01", "n,,\x01auth=Basic x\x01\x01", "n,,\x01auth=Bearer x\x01", "p=tls-exporter,,\x01auth=Bearer x\x01\x01",
		"n,a=al=ice,\x01auth=Bearer x\x01\x01", "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "user=alice\x01auth=Bearer x\x01\x01", "n,,\x01=x\x01auth=Bearer x\x01\x01",
	} {
		if v, _ := bear(a, oauthBearer, bad); !v.Syntax {
			t.Errorf("%q: %+v", bad, v)
		}
	}
}

// TestHostileTokens presents what an attacker makes of tokens and public keys.
func TestHostileTokens(t *testing.T) {
	i, a, log := newBearing(t)
	now := time.Now()
	b64 := base64.RawURLEncoding.EncodeToString
	public, err := x509.MarshalPKIXPublicKey(i.keys["r"].Key.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	set, err := os.ReadFile(i.file)
	if err != nil {
		t.Fatal(err)
	}
	good := i.token("r", nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hs := func(key []byte, kid string) string {
		return i.sign(jose.SigningKey{Algorithm: jose.HS256, Key: key}, kid, []byte(i.claims(nil)))
	}
	for what, token := range map[string]string{
		"alg none":                    b64([]byte(`{"alg":"none","kid":"r"}`)) + "." + payload + ".",
		"alg None":                    b64([]byte(`{"alg":"None"}`)) + "." + payload + ".",
		"no signature":                head + "." + payload + ".",
		"no alg":                      b64([]byte(`{"kid":"r"}`)) + "." + payload + "." + signature,
		"HS256 with the public key":   hs(public, "r"),
		"HS256 with the set of keys":  hs(set, "r"),
		"HS256 with a key in the set": hs([]byte("0123456789abcdef0123456789abcdef"), "secret"),
		"RS512":                       i.sign(jose.SigningKey{Algorithm: jose.RS512, Key: i.keys["r"].Key}, "r", []byte(i.claims(nil))),
		"PS256":                       i.sign(jose.SigningKey{Algorithm: jose.PS256, Key: i.keys["r"].Key}, "r", []byte(i.claims(nil))),
		"another method's kid":        i.sign(i.keys["d"], "r", []byte(i.claims(nil))),
		"a stranger's key":            i.sign(jose.SigningKey{Algorithm: jose.EdDSA, Key: stranger}, "d", []byte(i.claims(nil))),
		"an unknown kid":              i.sign(i.keys["d"], "x", []byte(i.claims(nil))),
		"a key that came along": b64(fmt.Appendf(nil, `{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"%s"}}`, b64(stranger.Public().(ed25519.PublicKey)))) +
			"." + payload + "." + b64(ed25519.Sign(stranger, []byte("x"))),
		"another payload":     head + "." + b64([]byte(i.claims(map[string]any{"email": "bob"}))) + "." + signature,
		"another's signature": head + "." + payload + "." + strings.Split(i.token("r", map[string]any{"sub": "1"}), ".")[2],
		"expired":             i.token("e", map[string]any{"exp": now.Add(-2 * skew).Unix()}),
		"not yet":             i.token("e", map[string]any{"nbf": now.Add(2 * skew).Unix()}),
		"never expires":       i.token("e", map[string]any{"exp": nil}),
		"wrong aud":           i.token("e", map[string]any{"aud": "smtp"}),
		"no aud":              i.token("e", map[string]any{"aud": nil}),
		"wrong iss":           i.token("e", map[string]any{"iss": i.URL + "/"}),
		"no iss":              i.token("e", map[string]any{"iss": nil}),
		"no name":             i.token("e", map[string]any{"email": nil}),
		"a name that is none": i.token("e", map[string]any{"email": []string{"alice"}}),
		"a name with NUL":     i.token("e", map[string]any{"email": "alice\x00"}),
		"not verified":        i.token("e", map[string]any{"email_verified": false}),
		"verified, as text":   i.token("e", map[string]any{"email_verified": "false"}),
		"no such user":        i.token("e", map[string]any{"email": "nobody"}),
		"another user":        i.token("e", map[string]any{"email": "bob"}),
		"huge":                i.token("e", map[string]any{"x": strings.Repeat("a", 3*maxToken/4)}),
		"JSON":                `{"payload":"` + payload + `","protected":"` + head + `","signature":"` + signature + `"}`,
		"encrypted":           "a.b.c.d.e",
		"garbage":             "....", "one part": "x", "a key": string(set[:40]),
	} {
		v, fault := bear(a, oauthBearer, oauth("alice", token))
		if v.User != "" || v.Code != "AUTHENTICATIONFAILED" || fault != `{"scope":"mail","status":"invalid_token"}` {
			t.Errorf("%s: %+v, %s", what, v, fault)
		}
		if v, fault := bear(a, xoauth2, "user=alice\x01auth=Bearer "+token+"\x01\x01"); v.User != "" || !strings.Contains(fault, `"status":"401"`) {
			t.Errorf("%s, XOAUTH2: %+v, %s", what, v, fault)
		}
	}
	if v, _ := bear(a, oauthBearer, "n,,\x01auth=Bearer "+i.token("e", map[string]any{"email": "nobody"})+"\x01\x01"); v.User != "" {
		t.Errorf("a user whom there is not: %+v", v)
	}
	for _, secret := range []string{payload, signature} {
		if strings.Contains(log.String(), secret) {
			t.Error("a token is in the log")
		}
	}
	for _, key := range []string{"exp", "nbf"} { // clocks differ a little
		at := now.Add(map[string]time.Duration{"exp": -skew / 2, "nbf": skew / 2}[key])
		if v, _ := bear(a, oauthBearer, oauth("alice", i.token("e", map[string]any{key: at.Unix()}))); v.User != "alice" {
			t.Errorf("%s within the skew: %+v", key, v)
		}
	}
}

// The issuer changes its keys, and the file follows.
func TestKeysChange(t *testing.T) {
	i, a, log := newBearing(t)
	old := i.token("d", nil)
	_, fresh, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.keys = map[string]jose.SigningKey{"d2": {Algorithm: jose.EdDSA, Key: fresh}}
	token := i.token("d2", nil)
	look := func() { a.proving().issuer.looked = time.Time{} }
	if v, _ := bear(a, oauthBearer, oauth("alice", token)); v.User != "" {
		t.Errorf("before the file has it: %+v", v)
	}
	i.fetch()
	look()
	if v, _ := bear(a, oauthBearer, oauth("alice", token)); v.User != "alice" {
		t.Errorf("the new key: %+v", v)
	}
	if v, _ := bear(a, oauthBearer, oauth("alice", old)); v.User != "" {
		t.Errorf("the old key: %+v", v)
	}
	for _, damage := range []string{"", "{}", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}`} {
		if err := os.WriteFile(i.file, []byte(damage), 0o644); err != nil {
			t.Fatal(err)
		}
		look()
		if v, _ := bear(a, oauthBearer, oauth("alice", token)); v.User != "alice" {
			t.Errorf("with a file of %q the keys before it are good no more: %+v", damage, v)
		}
		look()
		bear(a, oauthBearer, oauth("alice", token))
		if n := strings.Count(log.String(), "stay in force"); n == 0 || n > 2 {
			t.Errorf("with a file of %q the log says %d times that the keys before it stay", damage, n)
		}
		logins := &config.Logins{Issuer: &a.proving().issuer.config}
		if err := CheckKeys(logins); err == nil {
			t.Errorf("a configuration with keys of %q is taken", damage)
		}
		if err := a.Prove(&config.Config{Logins: logins}, nil); err != nil {
			t.Errorf("a reload with keys of %q: %v", damage, err)
		}
		if v, _ := bear(a, oauthBearer, oauth("alice", token)); v.User != "alice" {
			t.Errorf("after a reload with a file of %q the keys before it are good no more: %+v", damage, v)
		}
	}
	if _, err := jwt.ParseSigned(token, nil); err == nil {
		t.Error("the library takes any method where none is named")
	}
}

// Without keys a start goes on: no token is accepted, and nobody is banned for one, until
// the file is there.
func TestNoKeys(t *testing.T) {
	i := newIssuing(t)
	if err := os.Remove(i.file); err != nil {
		t.Fatal(err)
	}
	a, log := newBearingBy(t, i)
	v, _ := bear(a, oauthBearer, oauth("alice", i.token("e", nil)))
	if v.Code != "UNAVAILABLE" || strings.Contains(log.String(), `msg="login failed"`) || strings.Count(log.String(), "no token is accepted") != 1 {
		t.Errorf("%+v; %s", v, log)
	}
	i.fetch()
	a.proving().issuer.looked = time.Time{}
	if v, _ := bear(a, oauthBearer, oauth("alice", i.token("e", nil))); v.User != "alice" {
		t.Errorf("with the keys: %+v", v)
	}
}

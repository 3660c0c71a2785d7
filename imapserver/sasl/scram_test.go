package sasl

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"

	"mailstead/imapserver/oracle"
)

const (
	vectorSalt   = "W22ZaJ0SNY7soEsUEjb6gQ=="
	vectorFirst  = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	vectorNonce  = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	vectorProof  = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	vectorServer = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func pencil(t testing.TB, password string) Verifier {
	t.Helper()
	salt, err := base64.StdEncoding.DecodeString(vectorSalt)
	if err != nil {
		t.Fatal(err)
	}
	v, err := MakeVerifier(password, salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func vector(t testing.TB) *SCRAM {
	v := pencil(t, "pencil")
	return &SCRAM{Nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", Lookup: func(string) Verifier { return v }}
}

// The example of RFC 7677 §3.
func TestSCRAMVector(t *testing.T) {
	s := vector(t)
	if got, done, err := s.Next(nil); string(got) != "" || got == nil || done || err != nil {
		t.Fatalf("no initial response: %q %v %v", got, done, err)
	}
	got, done, err := s.Next([]byte(vectorFirst))
	if want := "r=" + vectorNonce + ",s=" + vectorSalt + ",i=4096"; string(got) != want || done || err != nil {
		t.Fatalf("%q %v %v, not %q", got, done, err, want)
	}
	got, done, err = s.Next([]byte("c=biws,r=" + vectorNonce + "," + vectorProof))
	if string(got) != vectorServer || done || err != nil {
		t.Fatalf("%q %v %v", got, done, err)
	}
	if _, done, err = s.Next([]byte{}); !done || err != nil {
		t.Fatalf("%v %v", done, err)
	}
	if c := s.Credentials(); c != (Credentials{User: "user"}) {
		t.Errorf("%+v", c)
	}
	if _, _, err := s.Next([]byte{}); !errors.Is(err, ErrEnded) {
		t.Errorf("once more: %v", err)
	}
}

// Each response that is a little wrong ends the exchange.
func TestSCRAMRefuses(t *testing.T) {
	long := strings.Repeat("n", 600)
	first := map[string]error{
		"": ErrSyntax, "n": ErrSyntax, "n,": ErrSyntax, "n,,": ErrSyntax, "n,,n=user": ErrSyntax, "n,,r=x,n=user": ErrSyntax,
		"x,,n=user,r=a": ErrSyntax, "n,b=x,n=user,r=a": ErrSyntax, "n,,m=x,n=user,r=a": ErrSyntax, "p=tls-exporter,,n=user,r=a": ErrSyntax,
		"n,,n=us=er,r=a": ErrSyntax, "n,,n=us=2cer,r=a": ErrSyntax, "n,,n=user,r=": ErrSyntax, "n,,n=user,r=a b": ErrSyntax, "n,,n=user,r=a\x00": ErrSyntax,
		"n,,n=user,r=\xff": ErrSyntax, "n,,n=user,r=" + long: ErrSyntax, "n,,n=,r=a": ErrEmpty, "n,,n=\xff,r=a": ErrText, "n,,n=a\x00b,r=a": ErrText,
		"n,,n=" + long + ",r=a": ErrTooLong, "n,a=,n=user,r=a": ErrEmpty, "n,a=\xff,n=user,r=a": ErrText,
		"y,,n=user,r=a": nil, "n,a=user,n=user,r=a": nil, "n,,n=us=2Cer=3D,r=a,x=y": nil,
	}
	for m, want := range first {
		if _, _, err := vector(t).Next([]byte(m)); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%.60q: %v, not %v", m, err, want)
		}
	}
	for m, want := range map[string]error{
		"": ErrSyntax, "c=biws": ErrSyntax, "c=biws,r=" + vectorNonce: ErrSyntax, "c=biws," + vectorProof: ErrSyntax, "r=" + vectorNonce + ",c=biws," + vectorProof: ErrSyntax,
		"c=biws,r=rOprNGfwEbeRWgbNEkqO," + vectorProof: ErrSyntax, "c=biws,r=" + vectorNonce + "x," + vectorProof: ErrSyntax,
		"c=!,r=" + vectorNonce + "," + vectorProof: ErrSyntax, "c=,r=" + vectorNonce + "," + vectorProof: ErrBinding, "c=eSws,r=" + vectorNonce + "," + vectorProof: ErrBinding,
		"c=biws,r=" + vectorNonce + ",p=": ErrSyntax, "c=biws,r=" + vectorNonce + ",p=AAAA": ErrSyntax, "c=biws,r=" + vectorNonce + ",p=" + strings.Repeat("A", 43) + "=": ErrProof,
		"c=biws,r=" + vectorNonce + ",x=y," + vectorProof: ErrProof, // which the proof does not cover
	} {
		s := vector(t)
		if _, _, err := s.Next([]byte(vectorFirst)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Next([]byte(m)); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, not %v", m, err, want)
		}
		if _, _, err := s.Next([]byte("c=biws,r=" + vectorNonce + "," + vectorProof)); !errors.Is(err, ErrEnded) {
			t.Errorf("%.60q: it goes on: %v", m, err)
		}
	}
}

// converse has a client of another make speak with s.
func converse(s *SCRAM, c *scram.ClientConversation) (name string, err error) {
	response, err := c.Step("")
	for err == nil {
		challenge, done, serr := s.Next([]byte(response))
		if serr != nil || done {
			return s.User, serr
		}
		if response, err = c.Step(string(challenge)); c.Done() {
			response = ""
		}
	}
	return "", err
}

// TestSCRAMClient is the exchange with a client of another make: with and without
// channel binding, and with somebody in the middle.
func TestSCRAMClient(t *testing.T) {
	exporter := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("of this connection")}
	other := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("of another one")}
	unique := scram.ChannelBinding{Type: scram.ChannelBindingTLSUnique, Data: []byte("of this connection")}
	for _, tt := range []struct {
		what          string
		plus, offered bool
		converse      func(c *scram.Client) *scram.ClientConversation
		password      string
		err           error
	}{
		{"in the clear", false, false, (*scram.Client).NewConversation, "päss, =wörd", nil},
		{"wrong password", false, false, (*scram.Client).NewConversation, "pass", ErrProof},
		{"a client that knows no binding", false, true, (*scram.Client).NewConversation, "päss, =wörd", nil},
		{"no binding offered", false, false, (*scram.Client).NewConversationAdvertisingChannelBinding, "päss, =wörd", nil},
		{"-PLUS taken out of the offer", false, true, (*scram.Client).NewConversationAdvertisingChannelBinding, "päss, =wörd", ErrBinding},
		{"bound", true, true, func(c *scram.Client) *scram.ClientConversation { return c.NewConversationWithChannelBinding(exporter) }, "päss, =wörd", nil},
		{"bound to another connection", true, true, func(c *scram.Client) *scram.ClientConversation { return c.NewConversationWithChannelBinding(other) }, "päss, =wörd", ErrBinding},
		{"bound by what is unknown", true, true, func(c *scram.Client) *scram.ClientConversation { return c.NewConversationWithChannelBinding(unique) }, "päss, =wörd", ErrBinding},
		{"-PLUS without a binding", true, true, (*scram.Client).NewConversation, "päss, =wörd", ErrSyntax},
		{"a binding without -PLUS", false, true, func(c *scram.Client) *scram.ClientConversation { return c.NewConversationWithChannelBinding(exporter) }, "päss, =wörd", ErrSyntax},
	} {
		v := pencil(t, "päss, =wörd")
		client, err := scram.SHA256.NewClient("a,b=c", tt.password, "")
		if err != nil {
			t.Fatal(err)
		}
		s := &SCRAM{Plus: tt.plus, Offered: tt.offered, Nonce: "n", Bindings: map[string][]byte{"tls-exporter": exporter.Data}, Lookup: func(string) Verifier { return v }}
		conversation := tt.converse(client)
		name, err := converse(s, conversation)
		if !errors.Is(err, tt.err) || tt.err == nil && (err != nil || name != "a,b=c" || !conversation.Valid()) {
			t.Errorf("%s: %q %v, not %v", tt.what, name, err, tt.err)
		}
	}
}

func TestVerifier(t *testing.T) {
	v := pencil(t, "pencil")
	text := v.String()
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if text != want {
		t.Errorf("%s\nnot\n%s", text, want)
	}
	again, err := ParseVerifier(text)
	if err != nil || again.String() != text || !again.Verify("pencil") || again.Verify("Pencil") || again.Verify("") {
		t.Errorf("%v %v", again, err)
	}
	for _, s := range []string{
		"", "SCRAM-SHA-256$", strings.Replace(text, "4096", "4095", 1), strings.Replace(text, "4096", "9999999", 1), strings.Replace(text, "SHA-256", "SHA-1", 1),
		text + "\n", " " + text, text[:len(text)-1], strings.Replace(text, ":wf", ":w", 1), strings.Replace(text, "U=", "V=", 1), strings.Replace(text, "W22ZaJ0SNY7soEsUEjb6gQ==", "AAAAAAAA", 1),
	} {
		if _, err := ParseVerifier(s); err == nil || strings.Contains(err.Error(), "W22Z") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestPrepare has the examples of RFC 4013 §3, and compares with another
// implementation of it.
func TestPrepare(t *testing.T) {
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "\u0007": "", "\u0627\u0031": "",
		"": "", "\u00ad": "", "a\u00a0b\u3000c": "a b c", "A\u030a": "\u00c5", "\ufb01": "fi", "\ue000": "", "\ufffd": "", "x\u0000": "", "\U0001f511": "\U0001f511",
		"\u05d0\u05d1": "\u05d0\u05d1", "\u05d0a": "", "a\u05d0": "",
	} {
		if got, err := Prepare(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%+q: %+q %v, not %+q", in, got, err, want)
		}
	}
	for r := rune(1); r < 0x30000; r++ {
		switch {
		case r >= 0xd800 && r < 0xe000, stringprep.TableA1.Contains(r): // no character, or none of Unicode 3.2
			continue
		case r == 0x1806, r == 0x200b: // which table B.1 has and it has not; which is in two tables
			continue
		}
		in := "a" + string(r) + "b"
		want, err := stringprep.SASLprep.Prepare(in)
		got, ours := Prepare(in)
		if (ours == nil) != (err == nil) || err == nil && got != want {
			t.Fatalf("%+q: %+q %v, elsewhere %+q %v", in, got, ours, want, err)
		}
	}
}

func FuzzSCRAM(f *testing.F) {
	f.Add([]byte(vectorFirst), []byte("c=biws,r="+vectorNonce+","+vectorProof), []byte{})
	f.Add([]byte("y,a=x,n=a=2Cb,r=1"), []byte("c=eSxhPXgs,r=1%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=AAAA"), []byte("x"))
	v := pencil(f, "pencil")
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		s := &SCRAM{Nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", Lookup: func(string) Verifier { return v }}
		done := false
		for _, response := range [][]byte{a, b, c} {
			var challenge []byte
			var err error
			oracle.OnceCost(t, len(response)>>16, func() { challenge, done, err = s.Next(response) })
			if len(challenge) > 4*len(a)+4096 || bytes.ContainsAny(challenge, "\r\n\x00") {
				t.Fatalf("challenge %q", challenge)
			}
			if err != nil && done {
				t.Fatal("done, with an error")
			}
		}
		if done && !strings.Contains(string(b), vectorProof) {
			t.Fatalf("let in by %q %q %q", a, b, c)
		}
	})
}

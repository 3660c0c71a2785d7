package auth

import (
	"log/slog"
	"net"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// answeringLDAP gives the URL of an LDAP server that answers a bind, and STARTTLS, with these
// codes.
func answeringLDAP(t *testing.T, bind, startTLS int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					asked, err := ber.ReadPacket(c)
					if err != nil {
						return
					}
					tag, code := ber.Tag(ldap.ApplicationBindResponse), bind
					if asked.Children[1].Tag == ldap.ApplicationExtendedRequest {
						tag, code = ldap.ApplicationExtendedResponse, startTLS
					}
					said := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
					said.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
					for range 2 {
						said.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
					}
					answer := ber.NewSequence("")
					answer.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, asked.Children[0].Value, ""))
					answer.AppendChild(said)
					c.Write(answer.Bytes())
				}
			}()
		}
	}()
	return "ldap://" + l.Addr().String()
}

// What a server answers to the bind of a user is about the user, be it that the account is
// disabled, as 389 Directory Server says by 53; all else is about the server.
func TestBindAnswers(t *testing.T) {
	for _, tt := range []struct {
		bind, startTLS int64
		secure         bool
		code           string
	}{
		{bind: ldap.LDAPResultInvalidCredentials, code: refused.code},
		{bind: ldap.LDAPResultUnwillingToPerform, code: refused.code},
		{bind: ldap.LDAPResultBusy, code: "UNAVAILABLE"},
		{secure: true, startTLS: ldap.LDAPResultUnwillingToPerform, code: "UNAVAILABLE"},
		{secure: true, startTLS: ldap.LDAPResultNoSuchObject, code: "UNAVAILABLE"},
	} {
		d := newLDAP(config.Directory{LDAP: &config.LDAP{
			Servers: []string{answeringLDAP(t, tt.bind, tt.startTLS)}, STARTTLS: tt.secure, User: "uid={user}", Bounds: config.Bounds{Timeout: 10, Connections: 1},
		}}, Default, slog.New(slog.DiscardHandler))
		if _, f := d.check(t.Context(), &handoff.Credentials{User: "alice", Password: "x"}); f.code != tt.code {
			t.Errorf("%+v: %+v", tt, f)
		}
		d.close()
	}
}

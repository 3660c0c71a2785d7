package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mailstead/render"
	"mailstead/schema"
)

// discovered is a page of a host with users of two domains: alice logs in without
// hers, carol with it.
func discovered(t *testing.T, users ...string) http.Handler {
	t.Helper()
	h := &schema.Host{
		Name:      "mail.example.org",
		Listeners: []schema.Listener{{Name: "imaps", Port: 993, TLS: schema.Implicit}, {Name: "webmail", Address: "127.0.0.1", Port: 1143, TLS: schema.Plain}},
		Profiles:  &schema.Profiles{Submission: &schema.Submission{Server: "smtp.example.org", Port: 465, TLS: schema.Implicit, Login: "name"}},
		Web:       &schema.Web{},
	}
	for _, name := range users {
		h.Users = append(h.Users, schema.User{Name: name})
	}
	data, err := render.WebFileContent(h)
	if err != nil {
		t.Fatal(err)
	}
	var settings render.WebSettings
	if err := json.Unmarshal(data, &settings); err != nil {
		t.Fatal(err)
	}
	return New(settings, slog.New(slog.DiscardHandler))
}

const outlookAsks = `<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
<Request><EMailAddress>%s</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request>
</Autodiscover>`

func TestDiscovery(t *testing.T) {
	site := discovered(t, "alice", "carol@example.com")
	ask := func(method, url, body string) (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest(method, url, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	outlook := func(address string) string {
		t.Helper()
		status, text := ask("POST", "https://autodiscover.example.org/Autodiscover/Autodiscover.xml", strings.Replace(outlookAsks, "%s", address, 1))
		if status != http.StatusOK {
			t.Errorf("%s: status %d", address, status)
		}
		return text
	}
	for url, want := range map[string]string{
		"https://autoconfig.example.org/mail/config-v1.1.xml":                                                "<username>%EMAILLOCALPART%</username>",
		"https://autoconfig.example.com:8443/mail/config-v1.1.xml":                                           "<username>%EMAILADDRESS%</username>",
		"https://example.com/.well-known/autoconfig/mail/config-v1.1.xml":                                    "<username>%EMAILADDRESS%</username>",
		"https://elsewhere.example/mail/config-v1.1.xml?emailaddress=alice%40example.org":                    "<username>alice</username>",
		"https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=carol%40Example.com":               "<username>carol@Example.com</username>",
		"https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=%3Cx%3E%26%22%40example.org&other": "<username>&lt;x&gt;&amp;&#34;</username>",
	} {
		if status, text := ask("GET", url, ""); status != http.StatusOK || strings.Count(text, want) != 2 {
			t.Errorf("%s: status %d, want twice %s in\n%s", url, status, want, text)
		}
	}
	for _, url := range []string{
		"https://autoconfig.example.net/mail/config-v1.1.xml", "https://mail.example.org/mail/config-v1.1.xml?emailaddress=alice", "https://mail.example.org/mail/config-v1.1.xml?emailaddress=%40example.org",
	} {
		if status, text := ask("GET", url, ""); status != http.StatusNotFound {
			t.Errorf("%s: status %d\n%s", url, status, text)
		}
	}
	if text := outlook("carol@example.com"); !strings.Contains(text, "<LoginName>carol@example.com</LoginName>") {
		t.Error(text)
	}
	// Who asks about somebody learns nothing of whether there is such a user.
	if there, not := outlook("alice@example.org"), outlook("malice@example.org"); strings.ReplaceAll(not, "malice", "alice") != there || !strings.Contains(there, "<LoginName>alice</LoginName>") {
		t.Errorf("told of one who is there\n%s\nand of one who is not\n%s", there, not)
	}
	for _, address := range []string{"", "x", "x@example.net", "x@", strings.Repeat("x", 400) + "@example.org", "a&#10;b@example.org"} {
		if text := outlook(address); !strings.Contains(text, "<ErrorCode>60") || strings.Contains(text, "<Server>") {
			t.Errorf("%.20q: %s", address, text)
		}
	}
	for _, body := range []string{"", "<", "not XML", strings.Replace(outlookAsks, "outlook/responseschema", "mobilesync/responseschema", 1), `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Autodiscover><Request><EMailAddress>&e;@example.org</EMailAddress></Request></Autodiscover>`} {
		if _, text := ask("POST", "https://example.org/autodiscover/autodiscover.xml", body); !strings.Contains(text, "<ErrorCode>60") {
			t.Errorf("%q: %s", body, text)
		}
	}
	if status, text := ask("GET", "https://example.org/autodiscover/autodiscover.xml", ""); status == http.StatusOK {
		t.Errorf("by GET: %s", text)
	}
}

// TestDiscoveryMixed: what cannot be known is not guessed.
func TestDiscoveryMixed(t *testing.T) {
	site := discovered(t, "alice", "carol@example.org")
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest("GET", "https://example.org/mail/config-v1.1.xml?emailaddress=alice@example.org", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `some with the part before the "@"`) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

package message

import "testing"

// What is read of an envelope is what is read of the header, wherever it says that it
// is anything.
func TestMessageIDText(t *testing.T) {
	for header, want := range map[string]string{
		"Subject: a\r\nMessage-ID: <a@b>\r\n\r\n":                  "<a@b>",
		"message-id:\r\n <folded@b>\r\nMessage-ID: <second@b>\r\n": "<folded@b>",
		"Subject: none\r\n\r\n":                                    "",
		"Message-ID: \"odd\\\" id\"\r\n\r\n":                       `"odd\" id"`,
		"Message-ID: \r\n\r\n":                                     "",
	} {
		if got := HeaderID([]byte(header)); got != want {
			t.Errorf("%q: %q, not %q", header, got, want)
		}
		if got, ok := EnvelopeID(Parse([]byte(header)).AppendEnvelope(nil)); ok && got != want {
			t.Errorf("%q: %q of the envelope, not %q", header, got, want)
		}
	}
	if got, ok := EnvelopeID(Parse([]byte("Message-ID: <a@b>\r\n\r\n")).AppendEnvelope(nil)); !ok || got != "<a@b>" {
		t.Errorf("%q %v", got, ok)
	}
}

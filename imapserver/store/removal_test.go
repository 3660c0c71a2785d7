package store

import "testing"

func TestHeaderOf(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"a: b\n\nMessage-ID: <in@body>\n":  "a: b\n",
		"a: b\r\n\r\nMessage-ID: <x>\r\n":  "a: b\r\n",
		"\nMessage-ID: <in@body>\n":        "",
		"\r\nMessage-ID: <in@body>\n":      "",
		"a: b\n c\nMessage-ID: <cut@short": "a: b\n c\nMessage-ID: <cut@short",
	} {
		if got := string(headerOf([]byte(text))); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

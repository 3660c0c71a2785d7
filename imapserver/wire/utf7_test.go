package wire

import (
	"testing"
	"unicode/utf8"

	"mailstead/imapserver/oracle"
)

func TestUTF7(t *testing.T) {
	tests := []struct{ utf8, utf7 string }{
		{"", ""},
		{"INBOX", "INBOX"},
		{"a&b", "a&-b"},
		{"&&", "&-&-"},
		{"Entwürfe", "Entw&APw-rfe"},
		{"台北", "&U,BTFw-"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
		{"ü&ü", "&APw-&-&APw-"},
		{"📬", "&2D3c7A-"},
		{"a\tb\x7f", "a&AAk-b&AH8-"},
		{"\x00", "&AAA-"},
	}
	for _, tt := range tests {
		if got := EncodeUTF7(tt.utf8); got != tt.utf7 {
			t.Errorf("encode %q: got %q, want %q", tt.utf8, got, tt.utf7)
		}
		if got, ok := DecodeUTF7(tt.utf7); !ok || got != tt.utf8 {
			t.Errorf("decode %q: got %q %t, want %q", tt.utf7, got, ok, tt.utf8)
		}
	}
}

// Every name has one spelling: other ones, and what is no name, are refused.
func TestUTF7Strict(t *testing.T) {
	for _, s := range []string{
		"&", "a&", "&APw", "&APw=-", "&APw==-", // not closed, padded
		"&AGE-", "&ACY-", // printable
		"&APwAYQ-",             // printable inside a run
		"&APw-&APw-",           // one run would do
		"&APx-", "&AP-", "&A-", // stray bits, half a character
		"&2D0-", "&3Kw-", "&3KzYPQ-", // lone surrogates
		"ü", "a\x7f", "a\n", "&AP\nw-", "&AP w-", "&AP/-", // octets that cannot stand there
	} {
		if got, ok := DecodeUTF7(s); ok {
			t.Errorf("%q was taken for %q", s, got)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"Entw&APw-rfe", "&U,BTFw-", "&-", "&2D3crA-", "&AGE-", "ü&ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		oracle.Cost(t, len(s), func() { DecodeUTF7(s); EncodeUTF7(s) })
		if name, ok := DecodeUTF7(s); ok {
			if !utf8.ValidString(name) {
				t.Errorf("%q decodes to bad UTF-8 %q", s, name)
			}
			if again := EncodeUTF7(name); again != s {
				t.Errorf("%q decodes to %q, which encodes to %q", s, name, again)
			}
		}
		if !utf8.ValidString(s) {
			return
		}
		if name, ok := DecodeUTF7(EncodeUTF7(s)); !ok || name != s {
			t.Errorf("%q encodes to %q, which decodes to %q %t", s, EncodeUTF7(s), name, ok)
		}
	})
}

package maildir

import (
	"strings"
	"testing"
	"unicode/utf8"

	"mailstead/imapserver/oracle"
)

func TestEncodeName(t *testing.T) {
	tests := []struct {
		name, utf8, utf7 string
	}{
		{"INBOX", ".", "."},
		{"inBoX", ".", "."},
		{"Sent", ".Sent", ".Sent"},
		{"a.b.c", ".a.b.c", ".a.b.c"},
		{"INBOX.x", ".INBOX.x", ".INBOX.x"},
		{"Entwürfe 2024", ".Entwürfe 2024", ".Entw&APw-rfe 2024"},
		{"R&D", ".R&D", ".R&-D"},
		{"日本語", ".日本語", ".&ZeVnLIqe-"},
		{"Ωmega ∑", ".Ωmega ∑", ".&A6k-mega &IhE-"},
		{"😀", ".😀", ".&2D3eAA-"},
		{"\u00e9", ".\u00e9", ".&AOk-"},      // NFC
		{"e\u0301", ".e\u0301", ".e&AwE-"},   // NFD is another mailbox
		{` *%"\~#-`, ` *%"\~#-`, ` *%"\~#-`}, // what Courier takes
		{"cur", ".cur", ".cur"},
	}
	for _, tt := range tests {
		if !strings.HasPrefix(tt.utf8, ".") {
			tt.utf8, tt.utf7 = "."+tt.utf8, "."+tt.utf7
		}
		for enc, want := range map[Encoding]string{UTF8: tt.utf8, ModifiedUTF7: tt.utf7} {
			dir, err := EncodeName(tt.name, enc)
			if err != nil || dir != want {
				t.Errorf("EncodeName(%q, %v) = %q, %v; want %q", tt.name, enc, dir, err, want)
			}
			name, err := DecodeName(want, enc)
			if wantName := map[bool]string{true: "INBOX", false: tt.name}[want == "."]; err != nil || name != wantName {
				t.Errorf("DecodeName(%q, %v) = %q, %v; want %q", want, enc, name, err, wantName)
			}
		}
	}
}

func TestEncodeNameRefuses(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "/", "a/b", "../x", "a/../b", "a..b", ".a", "a.", "..a", "/etc/passwd",
		"a\x00b", "a\nb", "a\rb", "a\tb", "\x7f", "\u0085", "a\u2028b", "a\u2029b",
		"\xff", "a\xc3", "\xed\xa0\x80", strings.Repeat("x", 255), strings.Repeat("é", 128),
	} {
		for _, enc := range []Encoding{UTF8, ModifiedUTF7} {
			if dir, err := EncodeName(name, enc); err == nil {
				t.Errorf("EncodeName(%q, %v) = %q", name, enc, dir)
			}
		}
	}
	if dir, err := EncodeName(strings.Repeat("x", 254), UTF8); err != nil || len(dir) != 255 {
		t.Errorf("the longest name gives %d bytes, %v", len(dir), err)
	}
	if dir, err := EncodeName(strings.Repeat("é", 100), ModifiedUTF7); err == nil {
		t.Errorf("a name too long in modified UTF-7 gives %q", dir)
	}
}

func TestDecodeNameRefuses(t *testing.T) {
	both := []string{
		"", "x", "cur", "..", "..x", ".a..b", ".trail.", ".INBOX", ".inbox", "./x", ".a/b", ".a\nb",
		"." + strings.Repeat("x", 255),
	}
	for enc, dirs := range map[Encoding][]string{
		UTF8: append(both, ".\xff", ".a\xc3"),
		ModifiedUTF7: append(both,
			".é",               // not ASCII
			".&",               // unterminated
			".&AOk",            // unterminated
			".&AGE-",           // "a" needs no encoding
			".&AC4-", ".&AC8-", // "." and "/" do not either
			".&AOk-&AOk-", // two runs where one would do
			".&AOl-",      // bits behind the end
			".&AO-",       // half a character
			".&2D0-",      // half a surrogate pair
			".&AAo-",      // LF
			".&AEkATgBCAE8AWA-", ".I&AE4-BOX",
		),
	} {
		for _, dir := range dirs {
			if name, err := DecodeName(dir, enc); err == nil {
				t.Errorf("DecodeName(%q, %v) = %q", dir, enc, name)
			}
		}
	}
}

func TestDetectEncoding(t *testing.T) {
	for _, tt := range []struct {
		dirs []string
		want Encoding
	}{
		{nil, UTF8},
		{[]string{".", "cur", ".Sent", ".a.b"}, UTF8},
		{[]string{".Sent", ".Entw&APw-rfe"}, ModifiedUTF7},
		{[]string{".R&-D"}, ModifiedUTF7},
		{[]string{".R&D", ".Entw&APw-rfe"}, UTF8},
		{[]string{".Entwürfe", ".A&-B"}, UTF8},
		{[]string{"..", ".a..b", ".Entw&APw-rfe"}, ModifiedUTF7},
		{[]string{".\xff", ".Entw&APw-rfe"}, ModifiedUTF7}, // no mailbox in either
	} {
		if got := DetectEncoding(tt.dirs); got != tt.want {
			t.Errorf("DetectEncoding(%q) = %v, want %v", tt.dirs, got, tt.want)
		}
	}
}

// checkDir holds the directory of a mailbox to be an entry of the top Maildir,
// and no other one than that of INBOX or of a folder.
func checkDir(t *testing.T, dir string) {
	t.Helper()
	if dir == "." {
		return
	}
	if len(dir) < 2 || len(dir) > 255 || dir[0] != '.' || dir == ".." || strings.ContainsAny(dir, "/\x00\r\n") {
		t.Errorf("directory %q leaves the tree", dir)
	}
}

func FuzzEncodeName(f *testing.F) {
	for _, s := range []string{"INBOX", "a.b", "../x", "R&D", "&AOk-", "Entwürfe", "😀", "a\x00", ".", "é&é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, enc := range []Encoding{UTF8, ModifiedUTF7} {
			oracle.Cost(t, len(name), func() { EncodeName(name, enc) })
			dir, err := EncodeName(name, enc)
			if err != nil {
				continue
			}
			checkDir(t, dir)
			back, err := DecodeName(dir, enc)
			if err != nil || back != name && !(dir == "." && strings.EqualFold(name, "INBOX")) {
				t.Errorf("%v: %q is %q on disk, which is %q, %v", enc, name, dir, back, err)
			}
		}
	})
}

func FuzzDecodeName(f *testing.F) {
	for _, s := range []string{".", ".a.b", "..", ".&AOk-", ".R&-D", ".&2D3eAA-", ".&AC8-", ".\xff", ".&AOk-&AOk-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dir string) {
		for _, enc := range []Encoding{UTF8, ModifiedUTF7} {
			oracle.Cost(t, len(dir), func() { DecodeName(dir, enc) })
			name, err := DecodeName(dir, enc)
			if err != nil {
				continue
			}
			checkDir(t, dir)
			if !utf8.ValidString(name) {
				t.Errorf("%v: %q is the name %q, which is not UTF-8", enc, dir, name)
			}
			if back, err := EncodeName(name, enc); err != nil || back != dir {
				t.Errorf("%v: %q is the name %q, which is %q on disk, %v", enc, dir, name, back, err)
			}
		}
	})
}

package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"
	"unicode/utf8"
)

// charsetNames has one name of every decoder that can be reached.
var charsetNames = []string{
	"utf-8", "us-ascii", "utf-7", "utf-16", "utf-16be", "utf-16le", "utf-32",
	"iso-8859-1", "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7",
	"iso-8859-8", "iso-8859-8-i", "iso-8859-9", "iso-8859-10", "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16",
	"windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
	"windows-1257", "windows-1258", "windows-874", "macintosh", "x-mac-cyrillic", "ibm437", "ibm850", "ibm852", "ibm866",
	"koi8-r", "koi8-u", "shift_jis", "euc-jp", "iso-2022-jp", "euc-kr", "ks_c_5601-1987", "iso-2022-kr",
	"gb2312", "gbk", "gb18030", "hz-gb-2312", "big5", "x-user-defined", "tis-620",
}

// TestCharsets gives every decoder noise, and noise of the octets that switch
// states: it must end, in time, with no more than a few octets for each.
func TestCharsets(t *testing.T) {
	size, whole := 1<<17, os.Getenv("MAILSTEAD_HOSTILE") != ""
	if whole {
		size = 1_000_000
	}
	worst := time.Duration(0)
	noise := map[string][]byte{}
	r := rand.New(rand.NewPCG(1, 2))
	for kind, alphabet := range map[string]string{"shifts": "\x1b$B(JKAI)C~{}+-&/\x0e\x0fab", "high": "\x80\x81\xc0\xd8\xdc\xe0\xf0\xfe\xff"} {
		b := make([]byte, size)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		noise[kind] = b
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	noise["any"] = b
	for _, name := range charsetNames {
		for kind, b := range noise {
			var out []byte
			var err error
			took := processorTime(func() { out, err = io.ReadAll(utf8Reader(name, bytes.NewReader(b))) })
			if err != nil {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
			if len(out) > 8*size {
				t.Errorf("%s, %s: %d octets became %d", name, kind, size, len(out))
			}
			if enc := findEncoding(name); enc != nil && !utf8.Valid(out) {
				t.Errorf("%s, %s: not UTF-8", name, kind)
			}
			if !utf8.Valid(toUTF8(name, b)) {
				t.Errorf("%s, %s: toUTF8 gives other than UTF-8", name, kind)
			}
			if took > 5*time.Second || whole && took > time.Second { // one microsecond for each octet
				t.Errorf("%s, %s: took %v", name, kind, took)
			}
			worst = max(worst, took)
		}
	}
	t.Logf("at most %v of a processor for %d octets", worst, size)
}

func TestFindEncoding(t *testing.T) {
	for name, known := range map[string]bool{
		"ISO-8859-15": true, "latin1": true, "cp1252": true, "x-sjis": true, "GB2312": true, "utf-16": true,
		"UTF-8": false, "us-ascii": false, "": false, "iso-2022-kr": false, "x-none": false,
		string(make([]byte, 100)): false,
	} {
		if have := findEncoding(name) != nil; have != known {
			t.Errorf("%q: known is %v, want %v", name, have, known)
		}
	}
}

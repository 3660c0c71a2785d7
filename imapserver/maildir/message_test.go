package maildir

import (
	"slices"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
)

func TestSplitName(t *testing.T) {
	for name, want := range map[string][2]string{
		"1.a.h":           {"1.a.h", ""},
		"1.a.h:2,FS":      {"1.a.h", ":2,FS"},
		"1.a.h,S=3:2,":    {"1.a.h,S=3", ":2,"},
		"a:b:2,S":         {"a:b", ":2,S"},
		"X:foo":           {"X", ":foo"},
		"X:":              {"X", ":"},
		":2,S":            {"", ":2,S"},
		"line\nbreak:2,S": {"line\nbreak", ":2,S"},
	} {
		base, suffix := SplitName(name)
		if base != want[0] || suffix != want[1] {
			t.Errorf("SplitName(%q) = %q, %q", name, base, suffix)
		}
		b, s := SplitNameBytes([]byte(name))
		if string(b) != base || string(s) != suffix {
			t.Errorf("SplitNameBytes(%q) = %q, %q", name, b, s)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		suffix string
		flags  Flags
		set    Flags
		want   string
	}{
		{"", 0, 0, ":2,"},
		{"", 0, Seen, ":2,S"},
		{":2,", 0, Draft | Flagged | Replied | Seen | Trashed, ":2,DFRST"},
		{":2,DFRST", Draft | Flagged | Replied | Seen | Trashed, Flagged, ":2,F"},
		{":2,TS", Seen | Trashed, Seen | Trashed, ":2,ST"},
		{":2,PSTabZ", Seen | Trashed, Seen | Trashed | Flagged, ":2,FPSTabZ"},
		{":2,Sab,x=S", Seen, Draft, ":2,Dab,x=S"},
		{":1,S", 0, Seen, ":2,S"},
		{":foo", 0, Flagged, ":2,F"},
	} {
		if got := ParseFlags(tt.suffix); got != tt.flags {
			t.Errorf("ParseFlags(%q) = %b, want %b", tt.suffix, got, tt.flags)
		}
		if got := WithFlags(tt.suffix, tt.set); got != tt.want {
			t.Errorf("WithFlags(%q, %b) = %q, want %q", tt.suffix, tt.set, got, tt.want)
		}
	}
}

func FuzzWithFlags(f *testing.F) {
	for _, s := range []string{"", ":2,", ":2,FS", ":2,PSTabZ", ":2,S,x", ":1,", ":2,SS\xff"} {
		f.Add(s, uint8(9))
	}
	f.Fuzz(func(t *testing.T, suffix string, n uint8) {
		flags := Flags(n) & (Draft | Flagged | Replied | Seen | Trashed)
		oracle.Cost(t, len(suffix), func() { ParseFlags(WithFlags(suffix, flags)) })
		s := WithFlags(suffix, flags)
		if ParseFlags(s) != flags {
			t.Errorf("WithFlags(%q, %b) = %q, which has %b", suffix, flags, s, ParseFlags(s))
		}
		if again := WithFlags(s, flags); again != s {
			t.Errorf("%q becomes %q without a change", s, again)
		}
		if strings.HasPrefix(suffix, ":2,") && others(s) != others(suffix) {
			t.Errorf("%q becomes %q: others are lost", suffix, s)
		}
	})
}

// others gives what of a suffix is not one of the five flags.
func others(suffix string) string {
	letters, rest := flagPart(suffix)
	var b strings.Builder
	for i := range len(letters) {
		if strings.IndexByte(flagLetters, letters[i]) < 0 {
			b.WriteByte(letters[i])
		}
	}
	return b.String() + rest
}

// TestSortKey has the order that the real Courier gave.
func TestSortKey(t *testing.T) {
	want := []string{"abc", "zzz.1", "0005.x", "5.y", "999.z.h", "1000.M10P1.h", "1000.M2P1.h"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int { return SortKey(a).Compare(SortKey(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("order is %q, want %q", got, want)
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"-1", "0", -1}, {" 7.a", "8.a", -1}, {"+8.a", "7.a", 1}, {"4294967297.a", "1.b", 1},
		{"99999999999999999999999.a", "9223372036854775806.a", 1}, {"5.a:x", "5.a", 1}, {"5.a:x", "5.a,", -1}, {"5.a", "5.a", 0},
	} {
		if got := SortKey(tt.a).Compare(SortKey(tt.b)); got != tt.want {
			t.Errorf("%q before %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestUnique(t *testing.T) {
	n := NewNamer()
	seen := make(map[string]bool)
	for range 1000 {
		u := n.Next()
		for _, name := range []string{u.Tmp(), u.Base(0xFE00, 0x9B6986, 439)} {
			if seen[name] || strings.ContainsAny(name, "/:") || name[0] == '.' {
				t.Fatalf("name %q", name)
			}
			seen[name] = true
		}
		if !strings.Contains(u.Base(0xFE00, 0x9B6986, 439), "V000000000000FE00I00000000009B6986_") ||
			!strings.HasSuffix(u.Base(0xFE00, 0x9B6986, 439), ",S=439") {
			t.Fatalf("base %q", u.Base(0xFE00, 0x9B6986, 439))
		}
	}
	if got := escapeHost("a/b:c,d\\e\n" + strings.Repeat("x", 99)); strings.ContainsAny(got, "/:,\n") || len(got) > 64 {
		t.Errorf("host %q", got)
	}
}

package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mailstead/imapserver/oracle"
)

// Whatever is in the file, it is summed up or refused; what is added to one that
// was summed up counts, and a file that was written anew says what it should.
func FuzzSizeFile(f *testing.F) {
	for _, seed := range []string{
		"5000000S,1000C\n           0            0\n", "100C\n 1 2\n-1 -1\n", "S\n", ",,C\n9 9", "1S\n99999999999999999999 1\n", "", "\n\n", "1S\n1 1 1\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, SizeFileName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var s *SizeFile
		var err error
		oracle.Cost(t, len(content), func() { s = NewSizeFile(dir, &Ops{}); err = s.Refresh() })
		if err == nil {
			before := s.Used
			if before.Octets < 0 || before.Messages < 0 {
				t.Fatalf("less than nothing: %+v", before)
			}
			if err := s.Add(Usage{7, 1}); err != nil {
				t.Fatal(err)
			}
			if err := s.Refresh(); err != nil || s.Used != before.Add(Usage{7, 1}) {
				t.Fatalf("%+v after %+v: %v", s.Used, before, err)
			}
		}
		limits, used := s.Limits, Usage{Octets: 3, Messages: 1}
		if limits.Octets < 0 || limits.Messages < 0 {
			t.Fatalf("limits %+v", limits)
		}
		if err := s.Replace(limits, used); err != nil {
			t.Fatal(err)
		}
		again := NewSizeFile(dir, &Ops{})
		if err := again.Refresh(); err != nil || again.Limits != limits || again.Used != used {
			t.Fatalf("limits %+v, usage %+v: %v; want %+v", again.Limits, again.Used, err, limits)
		}
	})
}

// TestCompactTogether has many add to the file while others write it anew.
func TestCompactTogether(t *testing.T) {
	dir := t.TempDir()
	limits := Limits{Messages: 100_000}
	if err := NewSizeFile(dir, &Ops{}).Replace(limits, Usage{}); err != nil {
		t.Fatal(err)
	}
	const who, each = 4, 300
	var all sync.WaitGroup
	for range who {
		all.Go(func() {
			s := NewSizeFile(dir, &Ops{})
			for n := range each {
				err := s.Add(Usage{2, 1})
				if n%5 == 0 {
					err = errors.Join(err, s.Compact(limits))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s := NewSizeFile(dir, &Ops{})
	if err := s.Refresh(); err != nil || s.Used != (Usage{2 * who * each, who * each}) || s.Limits != limits {
		t.Errorf("%+v %+v, %v", s.Used, s.Limits, err)
	}
}

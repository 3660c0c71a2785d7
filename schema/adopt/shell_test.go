package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

func values(s Settings) map[string]string {
	m := map[string]string{}
	for name, each := range s {
		m[name] = each.Value
	}
	return m
}

func TestReadShell(t *testing.T) {
	const text = `# A comment with a ' quote
A=one # two
B="$A and ${A}" ; C='$A'
  D=a\
b\ c
E="x\$A \a \"" F_=1
`
	s := Settings{}
	err := readShell("f", []byte(text), s)
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 6 {
		t.Fatalf("two assignments in one command: %v", err)
	}
	s = Settings{}
	if err := readShell("f", []byte(strings.Replace(text, " F_", "\nF_", 1)), s); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "one", "B": "one and one", "C": "$A", "D": "ab c", "E": `x$A \a "`, "F_": "1"}
	if diff := cmp.Diff(want, values(s)); diff != "" {
		t.Error(diff)
	}
	if got := s["F_"].Origin.String(); got != "f:7" {
		t.Errorf("origin %s", got)
	}
	if got := s["D"].Origin.Line; got != 4 {
		t.Errorf("a continued line begins at %d", got)
	}
}

// What would have to be run, or cannot be told, is refused with its line.
func TestReadShellRefuses(t *testing.T) {
	for _, text := range []string{
		"A=$(id)", "A=`id`", "A=\"`id`\"", "A=\"$(id)\"", "A=$((1+1))", "A=$1", "A=$@", "A=\"$?\"", "A=${B:-x}", "A=${B}x${", "A=${}", "rm -rf /", "A=b c", "A=b rm",
		". /etc/passwd", "if true; then A=1; fi", "A=1 && B=2", "A=1 | cat", "A=1 > /x", "A=1 &", "A=(1)", "A=~/x", "A=x:~root", "A+=b", "A[1]=b", "1A=b", "=b",
		"A='x", "A=\"x", "A=x\r", "A=1;;", "; A=1", "PATH=/x", "IFS=x", "A=$'x'", "A=x\x00y", "A='\x00'", "readonly A=1", "export -p", "A=\"${B-}\"", "B() { A=1; }",
	} {
		err := readShell("f", []byte("\n"+text+"\n"), Settings{})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != 2 || syntax.File != "f" {
			t.Errorf("%q: %v", text, err)
		}
	}
	big := "A=0123456789\n" + strings.Repeat("A=\"$A$A$A$A$A$A$A$A$A$A\"\n", 40)
	if err := readShell("f", []byte(big), Settings{}); err == nil || !strings.Contains(err.Error(), "octets") {
		t.Errorf("a value of 10^41 octets: %v", err)
	}
}

// TestReadShellAsShell compares with a real shell what is read of random files.
func TestReadShellAsShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell to compare with")
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"A", "B", "C", "=", "=", "x", "y z", "'", "'", "\"", "\"", "$A", "${B}", "$", "\\", "\n", "\n", "\\\n", " ", "\t", "#", ";", ":", "~", "ü", "*", "[a]", "!", "%", "{", "}", "export ", "0", "\\$", "\\\"", "-", "/", "A=b\n"}
	dir, read := t.TempDir(), 0
	for n := range 4000 {
		var b strings.Builder
		for range 1 + random.IntN(12) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		text := "A=first\nB='sec ond'\n" + b.String() + "\n"
		s := Settings{}
		if err := readShell("f", []byte(text), s); err != nil {
			continue
		}
		read++
		file := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, stderr bytes.Buffer
		cmd := exec.Command(sh, "-c", `set -eaf; . "$0"; printf '%s\0%s\0%s' "$A" "$B" "$C"`, file)
		cmd.Env, cmd.Stdout, cmd.Stderr = []string{}, &out, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("seed %d: %q is read, and the shell refuses it: %v %s", seed, text, err, &stderr)
		}
		if got := s.Get("A") + "\x00" + s.Get("B") + "\x00" + s.Get("C"); got != out.String() {
			t.Fatalf("seed %d: %q is %q to us, %q to the shell", seed, text, got, &out)
		}
	}
	if read < 100 {
		t.Errorf("only %d of the files could be read", read)
	}
}

func FuzzReadShell(f *testing.F) {
	f.Add([]byte("A=\"$B\" # c\nexport A\nB='x'\\\ny"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Settings
		var err error
		oracle.Cost(t, len(data), func() { s = Settings{}; err = readShell("f", data, s) })
		if err != nil {
			return
		}
		for _, each := range s {
			if len(each.Value) > maxValue || each.Origin.Line < 1 {
				t.Fatalf("%+v", each)
			}
		}
	})
}

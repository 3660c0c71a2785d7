package message

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestAnswers holds every answer of testdata/*.txtar. Each has a file
// "message", whose lines end with LF and whose last line break is not part of
// it, and a file "answers": a line for each item, strings as Go writes them.
// With MAILSTEAD_UPDATE=1 the answers are written anew.
func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			raw, want := txtarFile(ar, "message"), txtarFile(ar, "answers")
			text := strings.TrimSuffix(string(raw.Data), "\n")
			m := Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
			have := new(strings.Builder)
			for line := range strings.Lines(string(want.Data)) {
				item, _, _ := strings.Cut(strings.TrimSpace(line), " ")
				fmt.Fprintf(have, "%s %s\n", item, strings.ReplaceAll(answer(t, m, item), "\r\n", `\r\n`))
			}
			if os.Getenv("MAILSTEAD_UPDATE") == "1" {
				want.Data = []byte(have.String())
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want.Data), have.String()); diff != "" {
				t.Errorf("(-want +have)\n%s", diff)
			}
		})
	}
}

func txtarFile(ar *txtar.Archive, name string) *txtar.File {
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			return &ar.Files[i]
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: name})
	return &ar.Files[len(ar.Files)-1]
}

func answer(t *testing.T, m *Message, item string) string {
	t.Helper()
	switch item {
	case "ENVELOPE":
		return string(m.AppendEnvelope(nil))
	case "BODY":
		return string(m.AppendBodyStructure(nil, false))
	case "BODYSTRUCTURE":
		return string(m.AppendBodyStructure(nil, true))
	case "texts":
		var list []string
		for r := range m.Texts() {
			list = append(list, strconv.Quote(readAll(t, r)))
		}
		return strings.Join(list, " ")
	case "headertext":
		return strconv.Quote(readAll(t, m.HeaderText()))
	case "date":
		date, ok := m.Date()
		return fmt.Sprint(date.Format("2006-01-02T15:04:05Z07:00"), " ", ok)
	}
	b, ok := m.Section(parseSection(t, item))
	if !ok {
		return "none"
	}
	return strconv.Quote(string(b))
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parseSection reads "[1.2.HEADER.FIELDS:From,To]".
func parseSection(t *testing.T, item string) *imap.FetchItemBodySection {
	t.Helper()
	s := new(imap.FetchItemBodySection)
	rest, fields, _ := strings.Cut(strings.Trim(item, "[]"), ":")
	for rest != "" {
		number, after, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(number)
		if err != nil {
			break
		}
		s.Part, rest = append(s.Part, n), after
	}
	switch rest {
	case "HEADER.FIELDS":
		rest, s.HeaderFields = "HEADER", strings.Split(fields, ",")
	case "HEADER.FIELDS.NOT":
		rest, s.HeaderFieldsNot = "HEADER", strings.Split(fields, ",")
	}
	switch s.Specifier = imap.PartSpecifier(rest); s.Specifier {
	case imap.PartSpecifierNone, imap.PartSpecifierHeader, imap.PartSpecifierMIME, imap.PartSpecifierText:
	default:
		t.Fatalf("%s: no such section", item)
	}
	return s
}

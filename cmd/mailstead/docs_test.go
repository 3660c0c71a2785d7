package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// code is what a page shows as code: a block, or some words in a line.
var code = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")

// commandEnd is where a shell takes the words of a command to be over.
var commandEnd = regexp.MustCompile(`[|;&>#]|\\$`)

// TestPagesNameWhatExists: every command that a page shows is one, and has the
// flags that it is shown with.
func TestPagesNameWhatExists(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range code.FindAllString(string(text), -1) {
			for line := range strings.Lines(strings.Trim(span, "`")) {
				for _, command := range commandsIn(line) {
					seen[filepath.Base(page)]++
					checkCommand(t, page, command)
				}
			}
		}
	}
	for _, page := range []string{"ci.md", "certbot.md", "README.md"} {
		if seen[page] < 4 {
			t.Errorf("%s names %d commands", page, seen[page])
		}
	}
}

// commandsIn gives the words after each "mailstead" in a line of code.
func commandsIn(line string) [][]string {
	var list [][]string
	words := strings.Fields(line)
	for i, word := range words {
		if word != "mailstead" && !strings.HasSuffix(word, "bin/mailstead") || i > 0 && !begins(words[i-1]) {
			continue
		}
		var command []string
		for _, w := range words[i+1:] {
			if commandEnd.MatchString(w) {
				break
			}
			command = append(command, strings.Trim(w, `"'`))
		}
		if len(command) > 0 && regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(command[0]) {
			list = append(list, command)
		}
	}
	return list
}

// begins tells whether a command can stand after a word.
func begins(word string) bool {
	return word == "$" || word == "run:" || word == "-" || strings.HasSuffix(word, "&&") || strings.HasSuffix(word, ".org") || word == "sudo"
}

func checkCommand(t *testing.T, page string, words []string) {
	t.Helper()
	root := newRoot()
	cmd, _, err := root.Find(words)
	if err != nil || cmd == root {
		t.Errorf("%s: there is no command %q", page, "mailstead "+strings.Join(words, " "))
		return
	}
	cmd.InitDefaultHelpFlag()
	for _, w := range words {
		name, _, _ := strings.Cut(w, "=")
		if !knownFlag(cmd, name) {
			t.Errorf("%s: %q has no flag %s", page, "mailstead "+strings.Join(words, " "), name)
		}
	}
}

func knownFlag(cmd *cobra.Command, word string) bool {
	switch {
	case word == "--" || !strings.HasPrefix(word, "-"):
		return true
	case strings.HasPrefix(word, "--"):
		return cmd.Flags().Lookup(word[2:]) != nil
	}
	return cmd.Flags().ShorthandLookup(word[1:2]) != nil
}

package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A page of docs shows commands in fenced blocks of two languages, all of which are run:
//
//	sh        a script
//	console   commands after "$ ", with what they print below; "..." stands for
//	          any text there, in a line or as a line. Where nothing is below,
//	          anything may be printed.
//
// A command ends with 0, or with N where "# exit N" stands after it. After the
// language is said where a block is run:
//
//	host                 on a booted host (MAILSTEAD_E2E=1), as root
//	in TESTSCRIPT.txtar  by that script of testdata/script, which takes it from the page
//	by TestNAME          by that test, which takes it from the page (blocksOf): it has the hosts for it
//	not run: REASON      nowhere
//
// otherwise in a directory of its own, without root. A block of CUE or another
// language whose fence names a path is that file. A comment "<!-- host" up to "-->"
// is a script that nobody sees: what happens to a host in between. All of a page is
// run in the order in which it stands there.

// fence is a fenced block of a page.
type fence struct {
	page string // its name in docs
	line int
	lang string // the first word after the fence
	how  string // what is said after it
	text string
}

func (f fence) String() string { return fmt.Sprintf("docs/%s:%d", f.page, f.line) }

// shown tells whether a block has commands that somebody is to type.
func (f fence) shown() bool { return slices.Contains([]string{"sh", "console", "hidden"}, f.lang) }

// file tells which file a block is, "" if none.
func (f fence) file() string {
	if !f.shown() && strings.ContainsAny(f.how, "/.") && !strings.Contains(f.how, " ") {
		return f.how
	}
	return ""
}

// fences are all fenced blocks of a page.
func fences(t *testing.T, page string) []fence {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var list []fence
	open := false
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		info, isFence := strings.CutPrefix(line, "```")
		hidden := line == "<!-- host\n"
		if hidden || open && line == "-->\n" {
			isFence, info = true, "hidden host"
		}
		switch {
		case isFence && !open:
			lang, how, _ := strings.Cut(strings.TrimSpace(info), " ")
			list, open = append(list, fence{page: page, line: n, lang: lang, how: how}), true
		case isFence:
			open = false
		case open:
			list[len(list)-1].text += line
		}
	}
	if open {
		t.Errorf("%s is not closed", list[len(list)-1])
	}
	return list
}

// step is a part of a page that is run by itself: a command of a console, or a
// whole script.
type step struct {
	at     fence
	script string
	exit   int
	want   string // what it prints, "" for anything
}

var wantExit = regexp.MustCompile(`(?m)^(.*?)[ \t]+# exit ([0-9]+)\b.*$`)

// steps are those of a block.
func (f fence) steps() []step {
	if file := f.file(); file != "" {
		return []step{{at: f, script: fmt.Sprintf("mkdir -p \"$(dirname %[1]q)\" && cat >%[1]q <<'\x04'\n%[2]s\x04\n", file, f.text)}}
	}
	if f.lang == "hidden" {
		return []step{{at: f, script: f.text}} // what it starts goes on
	}
	if f.lang == "sh" {
		script := wantExit.ReplaceAllString(f.text, "if $1; then (exit 99); else [ $$? = $2 ]; fi")
		return []step{{at: f, script: "( set -e\n" + script + ")\n"}}
	}
	var list []step
	for line := range strings.Lines(f.text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		last := len(list) - 1
		switch {
		case isCommand:
			s := step{at: f, script: command}
			if m := wantExit.FindStringSubmatch(command); m != nil {
				s.exit, _ = strconv.Atoi(m[2])
			}
			list = append(list, s)
		case last >= 0 && list[last].want == "" && strings.HasSuffix(list[last].script, "\\\n"):
			list[last].script += line
		case last >= 0:
			list[last].want += line
		}
	}
	return list
}

// script is one for all steps, in which each is marked where it begins and ends.
func script(steps []step) string {
	var b strings.Builder
	b.WriteString("exec 2>&1 </dev/null\n")
	for i, s := range steps {
		fmt.Fprintf(&b, "printf '\\036%%s\\n' %d\n%sprintf '\\037%%s\\n' $?\n", i, s.script)
	}
	return b.String()
}

// compare holds what a script printed against what the page says. What follows a
// step that did not end as it should has no meaning any more.
func compare(t *testing.T, steps []step, output string) {
	t.Helper()
	for i, s := range steps {
		_, after, began := strings.Cut(output, fmt.Sprintf("\036%d\n", i))
		printed, after, ended := strings.Cut(after, "\037")
		code, _, _ := strings.Cut(after, "\n")
		if !began || !ended || code != strconv.Itoa(s.exit) {
			t.Fatalf("%s: exit %s, want %d, of\n%s\nIt printed:\n%s", s.at, code, s.exit, s.script, printed)
		}
		if !printedAs(s.want, printed) {
			t.Errorf("%s: not what is printed by\n%s\nThe page says:\n%s\nIt printed:\n%s", s.at, s.script, s.want, printed)
		}
	}
}

// anything is what "..." stands for.
var anything = strings.NewReplacer(regexp.QuoteMeta("...\n"), `(?s:.*)`, regexp.QuoteMeta("..."), `.*`)

// printedAs tells whether an output is what a page says, but for what differs from
// run to run and how columns are set.
func printedAs(want, got string) bool {
	if want == "" {
		return true
	}
	plain := func(s string) string {
		return regexp.MustCompile(`[ \t]+`).ReplaceAllString(regexp.MustCompile(`(?m)[ \t\r]+$`).ReplaceAllString(steady(s), ""), " ")
	}
	form := anything.Replace(regexp.QuoteMeta(plain(want)))
	return regexp.MustCompile(`\A` + form + `\n*\z`).MatchString(plain(got))
}

// runHere runs steps in a directory of their own.
func runHere(t *testing.T, setup string, steps []step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", setup+"\n"+script(steps))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "LANG=C.UTF-8")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Run()
	compare(t, steps, out.String())
}

// blocksOf are the steps of each block of a page that the test runs itself.
func blocksOf(t *testing.T, page string) (blocks [][]step) {
	t.Helper()
	for _, f := range fences(t, page) {
		if f.how == "by "+t.Name() {
			blocks = append(blocks, f.steps())
		}
	}
	if blocks == nil {
		t.Fatalf("docs/%s has no block that says \"by %s\"", page, t.Name())
	}
	return blocks
}

// consent answers what a person at a terminal would be asked, and does not look on for
// as long as one would.
const consent = `
mailstead() {
	case $1 in
	apply|rollback|cutover|handback) command mailstead "$@" --yes ;;
	trace) timeout 5 mailstead "$@" || [ $? = 124 ] ;;
	*) command mailstead "$@" ;;
	esac
}
`

// runPage runs steps on a host.
func (b *box) runPage(setup string, steps []step) {
	b.t.Helper()
	runPage(b.t, b.command, setup, steps)
}

// runPage runs steps where command does.
func runPage(t *testing.T, command func(ctx context.Context, args ...string) *exec.Cmd, setup string, steps []step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := command(ctx, "bash", "-s")
	cmd.WaitDelay = time.Second // a script may leave something behind that has its output
	cmd.Stdin = strings.NewReader("main() {\n" + setup + consent + script(steps) + "}\nmain\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Run()
	compare(t, steps, out.String())
}

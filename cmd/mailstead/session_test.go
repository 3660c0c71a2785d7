package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sessionSteps are what is typed in the recording of docs/session.md, and what
// is answered to what a command asks.
var sessionSteps = []struct{ command, prompt, answer string }{
	{command: "mailstead init --host mail.example.org"},
	{command: "cd /etc/mailstead && sed -i 's/certbot: {}/selfSigned: {}/; s/users: {}/usrs: alice: {}/' mailstead.cue"},
	{command: "mailstead validate"},
	{command: "sed -i 's/usrs/users/' mailstead.cue && mailstead validate"},
	{command: "mailstead plan"},
	{command: "mailstead apply", prompt: "consent: ", answer: "yes"},
	{command: "mailstead status"},
	{command: "mailstead why mailstead-imaps.socket:8"},
	{command: "mailstead apply"},
}

const (
	sessionCast   = "../../docs/session.cast"
	sessionPage   = "../../docs/session.md"
	sessionWidth  = 120
	sessionHeight = 40
)

// TestSession types the recorded session into a shell of a booted host. What
// it shows is docs/session.md, but for digests and numbers of processes; with
// MAILSTEAD_UPDATE=1 it is recorded anew.
func TestSession(t *testing.T) {
	t.Parallel()
	b := newBox(t, "session")
	b.sh("useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd")
	r := &recording{}
	r.play(t, b)
	page := sessionHead + "```\n" + r.text() + "```\n"
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		for name, text := range map[string]string{sessionCast: r.cast(), sessionPage: page} {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := os.ReadFile(sessionPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(steady(string(want)), steady(page)); diff != "" {
		t.Errorf("%s is not what happens (-want +got), record it with MAILSTEAD_UPDATE=1:\n%s", sessionPage, diff)
	}
}

const sessionHead = `# A session

From nothing to served mail on a Debian 12 with the account ` + "`alice`" + `, as it was recorded there: made from a real run by
` + "`MAILSTEAD_E2E=1 MAILSTEAD_UPDATE=1 go test -run TestSession ./cmd/mailstead`" + `, and held to the truth by the same test. With its times it
is in [session.cast](session.cast): ` + "`asciinema play docs/session.cast`" + `.

`

// recording is what a terminal showed, and when.
type recording struct {
	now    float64 // seconds
	events []event
}

type event struct {
	at   float64
	data string
}

// show adds output. Nobody waits longer than two seconds.
func (r *recording) show(after time.Duration, data string) {
	r.now += min(after.Seconds(), 2)
	r.events = append(r.events, event{r.now, data})
}

// typed adds what somebody types. The terminal itself shows nothing of it, since
// more is typed than is to be seen.
func (r *recording) typed(line string) {
	for _, c := range line {
		r.show(30*time.Millisecond, string(c))
	}
	r.show(300*time.Millisecond, "\r\n")
}

// play runs the session: script(1) gives it a terminal, and this types.
func (r *recording) play(t *testing.T, b *box) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	shell := fmt.Sprintf("stty -echo cols %d rows %d; PS1= TERM=xterm exec bash --norc --noediting", sessionWidth, sessionHeight)
	cmd := b.command(ctx, "script", "-qefc", shell, "/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen := make(chan string)
	go func() {
		defer close(screen)
		for buf := make([]byte, 4096); ; {
			n, err := out.Read(buf)
			if err != nil {
				return
			}
			screen <- string(buf[:n])
		}
	}()
	r.await(t, screen, in, "echo '<''ready>'", "<ready>\r\n", false)
	for _, s := range sessionSteps {
		r.show(time.Second, "$ ")
		r.typed(s.command)
		line := s.command
		if s.prompt != "" {
			r.await(t, screen, in, line, s.prompt, true)
			r.typed(s.answer)
			line = s.answer
		}
		r.await(t, screen, in, line+"\necho '<''done>'", "<done>\r\n", true)
	}
	in.Close()
	for range screen {
	}
	cmd.Wait()
}

// await types a line and records what is shown until the mark appears.
func (r *recording) await(t *testing.T, screen <-chan string, in io.Writer, line, mark string, record bool) {
	t.Helper()
	io.WriteString(in, line+"\n")
	start, shown := time.Now(), ""
	for !strings.Contains(shown, mark) {
		data, ok := <-screen
		if !ok {
			t.Fatalf("the terminal closed, having shown:\n%s", shown)
		}
		shown += data
	}
	if record {
		r.show(time.Since(start), strings.Replace(shown, "<done>\r\n", "", 1))
	}
}

// cast gives the recording in the form of asciinema, version 2.
func (r *recording) cast() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(map[string]any{"version": 2, "width": sessionWidth, "height": sessionHeight, "title": "mailstead: from nothing to served mail"})
	for _, x := range r.events {
		e.Encode([]any{float64(int(x.at*1000)) / 1000, "o", x.data})
	}
	return b.String()
}

// text gives what is on the terminal in the end, without colours.
func (r *recording) text() string {
	var all strings.Builder
	for _, x := range r.events {
		all.WriteString(x.data)
	}
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(all.String(), "\r\n", "\n")) {
		line = colours.ReplaceAllString(line, "")
		if i := strings.LastIndexByte(line, '\r'); i >= 0 {
			line = line[i+1:] // it was written over
		}
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

var (
	colours  = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")
	unsteady = regexp.MustCompile(`\b[0-9a-f]{12}\b|process [0-9]+|version \S+( [0-9a-f]{12})?( with changes)?|, [0-9]+ sessions`)
)

// steady takes out what differs from run to run.
func steady(text string) string { return unsteady.ReplaceAllString(text, "…") }

package main_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// browser is a page of a Chromium that runs inside a box, spoken to over a pipe by its
// DevTools protocol: messages in JSON, each with a NUL behind it.
type browser struct {
	t       *testing.T
	in      io.Writer
	pipe    *os.File // what out reads from
	out     *bufio.Reader
	last    int
	session string
	// refused is what the browser has said that the policy of the page forbids.
	refused []string
	// asked is the questions of its dialogs, which are answered with yes or no.
	asked    []string
	yes      bool
	scripted bool // scripts run
}

// newBrowser starts a Chromium in the box, without a profile.
func newBrowser(t *testing.T, b *box) *browser {
	t.Helper()
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := b.command(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir=/tmp/browser", "--disable-dev-shm-usage", "--ignore-certificate-errors", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	w := &browser{t: t, in: in, pipe: out, out: bufio.NewReaderSize(out, 1<<20)}
	t.Cleanup(func() {
		in.Close()
		cancel()
		cmd.Wait()
		out.Close()
	})
	var target struct{ TargetID string }
	w.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	w.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	w.session = attached.SessionID
	w.call("Page.enable", nil, nil)
	w.call("Log.enable", nil, nil)
	w.scripts(false)
	return w
}

// scripts says whether those of the pages that are opened from now on run.
func (w *browser) scripts(run bool) {
	w.t.Helper()
	w.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": !run}, nil)
	w.scripted = run
}

// hide has another page in front of this one, until show.
func (w *browser) hide() (show func()) {
	w.t.Helper()
	whole := func(method string, params, result any) { // of the browser, not of its page
		page := w.session
		w.session = ""
		defer func() { w.session = page }()
		w.call(method, params, result)
	}
	var target struct {
		ID string `json:"targetId"`
	}
	whole("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	whole("Target.activateTarget", map[string]any{"targetId": target.ID}, nil)
	return func() { whole("Target.closeTarget", map[string]any{"targetId": target.ID}, nil) }
}

// write sends a call.
func (w *browser) write(id int, method string, params any) {
	w.t.Helper()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if w.session != "" {
		m["sessionId"] = w.session
	}
	data, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.in.Write(append(data, 0)); err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
}

// call makes a call and waits for what it gives.
func (w *browser) call(method string, params, result any) {
	w.t.Helper()
	if err := w.try(method, params, result); err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
}

// try is call of what may be in the way of a page that is being left.
func (w *browser) try(method string, params, result any) error {
	w.t.Helper()
	w.last++
	w.write(w.last, method, params)
	for {
		a := w.receive(method)
		if a.ID != w.last {
			continue
		}
		if a.Error != nil {
			return fmt.Errorf("%s", a.Error)
		}
		if result != nil {
			return json.Unmarshal(a.Result, result)
		}
		return nil
	}
}

// answered is the number of calls that nobody waits for.
const answered = 1 << 30

// browserMessage is an answer or an event.
type browserMessage struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  json.RawMessage
	Params struct {
		Entry   struct{ Text, Source, Level string }
		Message string // of a dialog
	}
}

func (w *browser) receive(waits string) (a browserMessage) {
	w.t.Helper()
	w.pipe.SetReadDeadline(time.Now().Add(2 * time.Minute))
	data, err := w.out.ReadBytes(0)
	if err != nil {
		w.t.Fatalf("%s: %v", waits, err)
	}
	if err := json.Unmarshal(data[:len(data)-1], &a); err != nil {
		w.t.Fatalf("%s: %v", waits, err)
	}
	switch {
	case a.Method == "Log.entryAdded" && a.Params.Entry.Source == "security":
		w.refused = append(w.refused, a.Params.Entry.Text)
	case a.Method == "Page.javascriptDialogOpening": // what has opened it waits
		w.asked = append(w.asked, a.Params.Message)
		w.write(answered, "Page.handleJavaScriptDialog", map[string]any{"accept": w.yes})
	}
	return a
}

// loaded waits until a page is there.
func (w *browser) loaded() {
	w.t.Helper()
	for w.receive("a page").Method != "Page.loadEventFired" {
	}
}

// open goes to a page.
func (w *browser) open(url string) {
	w.t.Helper()
	w.call("Page.navigate", map[string]any{"url": url}, nil)
	w.loaded()
}

// eval gives what an expression is, as text.
func (w *browser) eval(expression string) string {
	w.t.Helper()
	value, err := w.tryEval(expression)
	if err != nil {
		w.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (w *browser) tryEval(expression string) (string, error) {
	w.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	err := w.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &got)
	if err == nil && got.ExceptionDetails != nil {
		err = fmt.Errorf("%s", got.ExceptionDetails)
	}
	return fmt.Sprint(got.Result.Value), err
}

// shows waits until the page has that text, by whatever way it comes to it.
func (w *browser) shows(text string) {
	w.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got, err := w.tryEval("document.body.innerText")
		if err == nil && strings.Contains(got, text) {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("the page does not come to %q: %v\n%s", text, err, got)
		}
	}
}

// text is what the page shows.
func (w *browser) text() string { return w.eval("document.body.innerText") }

// send fills in the form with that action, and sends it by its button.
func (w *browser) send(action string, fields map[string]string) {
	w.t.Helper()
	w.press(action, fields)
	w.loaded()
}

// htmxHas tells whether htmx has taken a form over that is meant for it.
const htmxHas = `(f => !f.hasAttribute('hx-post') || !!(f['htmx-internal-data'] || {}).initHash)(document.querySelector('form[action=%q]')) + ''`

// press is send of a form that need not lead to another page.
func (w *browser) press(action string, fields map[string]string) {
	w.t.Helper()
	for end := time.Now().Add(90 * time.Second); w.scripted && w.eval(fmt.Sprintf(htmxHas, action)) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) { // what has just come in is not htmx's at once
			w.t.Fatalf("htmx does not take over the form of %s", action)
		}
	}
	var js strings.Builder
	fmt.Fprintf(&js, "(() => { const f = document.querySelector('form[action=%q]');", action)
	for name, value := range fields {
		fmt.Fprintf(&js, "f.elements[%q].value = %q;", name, value)
	}
	js.WriteString("f.querySelector('button').click(); return 'sent' })()")
	w.eval(js.String())
}

// shot takes a picture of the page.
func (w *browser) shot(width, height int, dark bool) []byte {
	w.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	w.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	w.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	var got struct{ Data string }
	w.call("Page.captureScreenshot", map[string]any{"format": "png"}, &got)
	data, err := base64.StdEncoding.DecodeString(got.Data)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

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
	out     *bufio.Reader
	last    int
	session string
	// refused is what the browser has said that the policy of the page forbids.
	refused []string
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
	w := &browser{t: t, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	t.Cleanup(func() {
		in.Close()
		cancel()
		cmd.Wait()
		out.Close()
	})
	out.SetReadDeadline(time.Now().Add(4 * time.Minute))
	var target struct{ TargetID string }
	w.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	w.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	w.session = attached.SessionID
	w.call("Page.enable", nil, nil)
	w.call("Log.enable", nil, nil)
	w.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	return w
}

// call makes a call and waits for what it gives.
func (w *browser) call(method string, params, result any) {
	w.t.Helper()
	w.last++
	m := map[string]any{"id": w.last, "method": method}
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
	for {
		a := w.receive(method)
		if a.ID != w.last {
			continue
		}
		if a.Error != nil {
			w.t.Fatalf("%s: %s", method, a.Error)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				w.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// browserMessage is an answer or an event.
type browserMessage struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  json.RawMessage
	Params struct {
		Entry struct{ Text, Source, Level string }
	}
}

func (w *browser) receive(waits string) (a browserMessage) {
	w.t.Helper()
	data, err := w.out.ReadBytes(0)
	if err != nil {
		w.t.Fatalf("%s: %v", waits, err)
	}
	if err := json.Unmarshal(data[:len(data)-1], &a); err != nil {
		w.t.Fatalf("%s: %v", waits, err)
	}
	if a.Method == "Log.entryAdded" && a.Params.Entry.Source == "security" {
		w.refused = append(w.refused, a.Params.Entry.Text)
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
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	w.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &got)
	if got.ExceptionDetails != nil {
		w.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	return fmt.Sprint(got.Result.Value)
}

// text is what the page shows.
func (w *browser) text() string { return w.eval("document.body.innerText") }

// send fills in the form with that action, and sends it by its button.
func (w *browser) send(action string, fields map[string]string) {
	w.t.Helper()
	var js strings.Builder
	fmt.Fprintf(&js, "(() => { const f = document.querySelector('form[action=%q]');", action)
	for name, value := range fields {
		fmt.Fprintf(&js, "f.elements[%q].value = %q;", name, value)
	}
	js.WriteString("f.querySelector('button').click(); return 'sent' })()")
	w.eval(js.String())
	w.loaded()
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

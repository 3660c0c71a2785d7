package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// thunderbird is a Thunderbird that runs inside a box, spoken to by Marionette: messages
// in JSON, each with its length and a colon before it.
type thunderbird struct {
	t       *testing.T
	conn    net.Conn
	in      *bufio.Reader
	last    int
	library string
}

// settings keep a new profile from asking and from looking for anything on the internet.
const settings = `
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mail.accounthub.enabled", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mailnews.start_page.enabled", false);
user_pref("mailnews.auto_config_url", "");
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("network.captive-portal-service.enabled", false);
`

// newThunderbird starts a Thunderbird without an account. It trusts /root/ca.pem.
func newThunderbird(t *testing.T, b *box) *thunderbird {
	t.Helper()
	library, err := os.ReadFile("testdata/programs/thunderbird.js")
	if err != nil {
		t.Fatal(err)
	}
	b.write("/etc/thunderbird/policies/policies.json", `{"policies": {"Certificates": {"Install": ["/root/ca.pem"]}, "DisableTelemetry": true, "DisableAppUpdate": true}}`)
	b.write("/root/profile/user.js", settings)
	b.run("systemd-run", "-q", "--unit=thunderbird", "-p", "StandardError=null", "--setenv=HOME=/root", "--setenv=LANG=C.UTF-8",
		"thunderbird", "--headless", "--marionette", "--remote-allow-system-access", "--profile", "/root/profile")
	b.sh(`for i in $(seq 600); do ss -Htln 'sport = :2828' | grep -q . && exit 0; sleep .1; done; exit 1`)
	w := &thunderbird{t: t, conn: b.dial("127.0.0.1:2828"), library: string(library)}
	w.in = bufio.NewReader(w.conn)
	t.Cleanup(func() { w.conn.Close() })
	w.conn.SetDeadline(time.Now().Add(5 * time.Minute))
	w.receive() // a greeting
	w.call("WebDriver:NewSession", map[string]any{})
	w.call("Marionette:SetContext", map[string]any{"value": "chrome"})
	w.call("WebDriver:SetTimeouts", map[string]any{"script": 90000})
	return w
}

func (w *thunderbird) receive() []byte {
	w.t.Helper()
	length, err := w.in.ReadString(':')
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		w.t.Fatal(err)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(w.in, data); err != nil {
		w.t.Fatal(err)
	}
	return data
}

// call makes a call and gives what it gives.
func (w *thunderbird) call(method string, params map[string]any) json.RawMessage {
	w.t.Helper()
	w.last++
	data, err := json.Marshal([]any{0, w.last, method, params})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(w.conn, "%d:%s", len(data), data); err != nil {
		w.t.Fatal(err)
	}
	var failed *struct{ Message, Stacktrace string }
	var result json.RawMessage
	if err := json.Unmarshal(w.receive(), &[]any{new(int), new(int), &failed, &result}); err != nil {
		w.t.Fatal(err)
	}
	if failed != nil {
		w.t.Fatalf("%s: %s\n%s", params["script"], failed.Message, failed.Stacktrace)
	}
	return result
}

// do has a function of testdata/programs/thunderbird.js called, and gives what it gives.
func (w *thunderbird) do(function string, args ...any) string {
	w.t.Helper()
	said := w.call("WebDriver:ExecuteScript", map[string]any{
		"script": "const given = arguments; return (async () => {" + w.library + "\nreturn " + function + "(...given) })()", "args": args, "newSandbox": false,
	})
	var result struct{ Value any }
	if err := json.Unmarshal(said, &result); err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(result.Value)
}

// gives wants a function to give something.
func (w *thunderbird) gives(want, function string, args ...any) {
	w.t.Helper()
	if got := w.do(function, args...); got != want {
		w.t.Errorf("%s%q gives %q, want %q", function, args, got, want)
	}
}

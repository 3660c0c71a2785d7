package outbox_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/outbox"
)

// sendmail writes a program that keeps what it is given in dir, or says no.
func sendmail(t *testing.T, dir, verdict string) string {
	t.Helper()
	path := filepath.Join(dir, "sendmail")
	text := "#!/bin/sh\necho \"$@\" >'" + dir + "/args'\ncat >'" + dir + "/message'\n" + verdict + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// listen serves one connection after the other, as systemd would.
func listen(t *testing.T, command string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "outbox")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			outbox.Serve(context.Background(), conn, command)
			conn.Close()
		}
	}()
	return socket
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSend(t *testing.T) {
	dir := t.TempDir()
	socket := listen(t, sendmail(t, dir, "exit 0"))
	text := "To: bob@example.org\n\nhi\n.\nbye\n" + strings.Repeat("x", 1<<20) + "\n"
	if err := outbox.Send(t.Context(), socket, "alice@example.org", []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir+"/message"); got != text {
		t.Errorf("sendmail got %d octets, want %d", len(got), len(text))
	}
	if got := read(t, dir+"/args"); got != "-oi -t -f alice@example.org\n" {
		t.Errorf("arguments %q", got)
	}
	if err := outbox.Send(t.Context(), socket, "", []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir+"/args"); got != "-oi -t\n" {
		t.Errorf("arguments without a sender %q", got)
	}
}

// TestSendLeft: what sendmail has taken was sent, whoever it leaves behind with its
// output open.
func TestSendLeft(t *testing.T) {
	socket := listen(t, sendmail(t, t.TempDir(), "sleep 5 & exit 0"))
	if err := outbox.Send(t.Context(), socket, "", []byte("To: bob@example.org\n\nhi\n")); err != nil {
		t.Error(err)
	}
	socket = listen(t, sendmail(t, t.TempDir(), "sleep 5 & exit 67"))
	if err := outbox.Send(t.Context(), socket, "", []byte("To: bob@example.org\n\nhi\n")); err == nil {
		t.Error("what was refused counts as sent")
	}
}

// TestSendRefused: what is refused was not sent, and the reason arrives.
func TestSendRefused(t *testing.T) {
	dir := t.TempDir()
	socket := listen(t, sendmail(t, dir, "echo 'no recipients' >&2; echo 'at all' >&2; exit 67"))
	err := outbox.Send(t.Context(), socket, "", []byte("Subject: x\n\n"))
	var refused outbox.Refused
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "no recipients at all") {
		t.Errorf("%v", err)
	}
	os.Remove(dir + "/args")
	for _, sender := range []string{"-Xlog", "a b@example.org", "a@example.org\nX", "<a@b>", strings.Repeat("a", 400)} {
		if err := outbox.Send(t.Context(), socket, sender, []byte("x\n")); !errors.As(err, &refused) {
			t.Errorf("sender %q: %v", sender, err)
		}
	}
	if err := outbox.Send(t.Context(), filepath.Join(dir, "nobody"), "", []byte("x\n")); !errors.As(err, &refused) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := os.Stat(dir + "/args"); err == nil {
		t.Error("sendmail was run for a sender that is no address")
	}
}

// TestServeHalf: a message of which a part arrives is not sent.
func TestServeHalf(t *testing.T) {
	dir := t.TempDir()
	socket := listen(t, sendmail(t, dir, "exit 0"))
	for _, sent := range []string{
		"{\"octets\":100}\nTo: bob@example.org\n\nhalf", "{\"octets\":-1}\n", "{\"octets\":99999999999}\n", "nonsense\n", "",
		strings.Repeat("x", 100_000),
	} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(sent))
		conn.(*net.UnixConn).CloseWrite()
		answer := make([]byte, 1000)
		n, _ := conn.Read(answer)
		if !strings.HasPrefix(string(answer[:n]), "NO ") {
			t.Errorf("%.20q is answered %q", sent, answer[:n])
		}
		conn.Close()
	}
	if _, err := os.Stat(dir + "/args"); err == nil {
		t.Error("sendmail was run")
	}
}

// TestSendUnknown: an answer that is none says neither that the message was sent nor
// that it was not.
func TestSendUnknown(t *testing.T) {
	for _, said := range []string{"well\n", "OK"} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "outbox"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				conn.Read(make([]byte, 1000))
				io.WriteString(conn, said)
				conn.Close()
			}
		}()
		err = outbox.Send(t.Context(), l.Addr().String(), "", []byte("x\n"))
		var refused outbox.Refused
		if err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%q: %v", said, err)
		}
	}
}

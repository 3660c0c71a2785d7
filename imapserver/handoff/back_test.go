package handoff

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// streams makes the front's and the worker's end of a connection.
func streams(t *testing.T) (front, worker io.ReadWriteCloser, give func(token, answer, rest []byte) error) {
	t.Helper()
	f, file, err := StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Stream(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); w.Close() })
	return f, w, func(token, answer, rest []byte) error { return GiveBack(w, token, answer, rest) }
}

func TestGiveBack(t *testing.T) {
	front, worker, give := streams(t)
	token := NewToken()
	io.WriteString(worker, "* BYE not yet\r\n")
	io.WriteString(front, "b NOOP\r\n")
	done := make(chan error, 1)
	go func() { done <- give(token, []byte("a OK\r\n"), []byte("x ")) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait until all was read: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if _, err := io.WriteString(front, "c NOOP\r\n"); err == nil {
		t.Error("the front could write on")
	}
	buf := make([]byte, 1000)
	n, err := front.Read(buf)
	if err != nil || string(buf[:n]) != "* BYE not yet\r\n" {
		t.Fatalf("the front read %q, %v", buf[:n], err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n, err = front.Read(buf); err != nil {
		t.Fatal(err)
	}
	answer, rest, ok := Back(token, buf[:n])
	if !ok || string(answer) != "a OK\r\n" || string(rest) != "x b NOOP\r\n" {
		t.Errorf("given back: %q and %q, %v", answer, rest, ok)
	}
}

func TestGiveBackTooMuch(t *testing.T) {
	front, _, give := streams(t)
	go io.WriteString(front, strings.Repeat("x", 2*MaxBack))
	if err := give(NewToken(), nil, make([]byte, MaxBack+1)); err == nil {
		t.Error("too much was given back")
	}
}

func TestBack(t *testing.T) {
	token := NewToken()
	whole := append(bytes.Clone(token), 0, 2, 'o', 'k', 'r')
	for _, b := range [][]byte{nil, token, whole[1:], whole[:len(whole)-2], append([]byte("x"), whole...)} {
		if _, _, ok := Back(token, b); ok {
			t.Errorf("%q was taken for the way back", b)
		}
	}
	if _, _, ok := Back(nil, whole); ok {
		t.Error("without a token, there is a way back")
	}
	if answer, rest, ok := Back(token, whole); !ok || string(answer) != "ok" || string(rest) != "r" {
		t.Errorf("%q, %q, %v", answer, rest, ok)
	}
}

package deliver

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCopyMessage(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, row := range []struct{ name, in, want string }{
		{"lines", "Subject: a\r\n\r\nb\r\n", "Subject: a\n\nb\n"},
		{"no end", "Subject: a\r\n\r\nb", "Subject: a\n\nb\n"},
		{"half an end", "Subject: a\n\nb\r", "Subject: a\n\nb\r\n"},
		{"nothing", "", ""},
		{"CR", "a: b\r\n\r\nc\rd\r\r\ne\r\n", "a: b\n\nc\rd\r\ne\n"},
		{"octets", "a: \x00\xff\n\n\x00\x80\r\n.\r\n..\r\nFrom me\r\n", "a: \x00\xff\n\n\x00\x80\n.\n..\nFrom me\n"},
		{"long", "a: " + long + "\r\n\r\n" + long + "\r\n", "a: " + long + "\n\n" + long + "\n"},
		{"mbox", "From alice Mon\r\nSubject: a\r\n\r\nFrom b\r\n", "Subject: a\n\nFrom b\n"},
		{"mbox, and a line that begins with a blank", "From alice Mon\r\n a\r\n\tb\r\nSubject: a\r\n\r\n", " a\n\tb\nSubject: a\n\n"},
		{"mbox twice", "From alice Mon\nFrom b\nReturn-Path: c\n d\n\n", "From b\n\n"},
		{"mbox alone", "From alice Mon\n\n b\n", "\n b\n"},
		{"mbox, long", "From " + long + "\r\nSubject: a\r\n\r\n", "Subject: a\n\n"},
		{"path", "Return-Path: <x>\r\n y\r\n\tz\r\nRETURN-path :q\r\nSubject: a\r\n\r\nReturn-Path: <b>\r\n", "Subject: a\n\nReturn-Path: <b>\n"},
		{"path, long", "Return-Path: " + long + "\n " + long + "\nSubject: a\n\n", "Subject: a\n\n"},
		{"path alone", "Return-Path: <x>", ""},
		{"not the path", "Return-Pathology: x\nX: Return-Path: y\n\n", "Return-Pathology: x\nX: Return-Path: y\n\n"},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(row.in), "pieces": iotest.OneByteReader(strings.NewReader(row.in))} {
			var b bytes.Buffer
			got, err := copyMessage(&b, r, Envelope{Sender: "s@x", Recipient: "r@x"}, 1<<20)
			const head = "Return-Path: <s@x>\nDelivered-To: r@x\n"
			if err != nil || b.String() != head+row.want {
				t.Errorf("%s, %s: %.300q %v", row.name, how, b.String(), err)
			}
			// Dovecot's virtual size: each line feed without a CR gets one.
			if wire := len(strings.ReplaceAll(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n", "\r\n")); got.disk != int64(b.Len()) || got.disk+got.lines != int64(wire) {
				t.Errorf("%s, %s: %+v of %d octets, %d on the wire", row.name, how, got, b.Len(), wire)
			}
		}
	}
}

func TestCopyMessageEnvelope(t *testing.T) {
	const text = "Return-Path: <own>\nSubject: a\n\n"
	for want, e := range map[string]Envelope{
		text:                                 {NoSender: true},
		"Return-Path: <>\nSubject: a\n\n":    {},
		"Delivered-To: a\n" + text:           {NoSender: true, Recipient: "a"},
		"Return-Path: <é@x>\nSubject: a\n\n": {Sender: "é@x"},
		// What would be another field is none.
		"Subject: a\n\n": {Sender: "a\nX: y", Recipient: strings.Repeat("a", 1000)},
	} {
		var b bytes.Buffer
		if _, err := copyMessage(&b, strings.NewReader(text), e, 1<<20); err != nil || b.String() != want {
			t.Errorf("%+v: %q %v", e, b.String(), err)
		}
	}
}

func TestCopyMessageTooLong(t *testing.T) {
	for n, ok := range map[int]bool{999: true, 1000: true, 1001: false, 1_000_000: false} {
		var b bytes.Buffer
		_, err := copyMessage(&b, io.MultiReader(strings.NewReader(strings.Repeat("x", n-1)), strings.NewReader("\n")), Envelope{NoSender: true}, 1000)
		if (err == nil) != ok || !ok && !errors.Is(err, ErrTooLong) || b.Len() > 1000 {
			t.Errorf("%d octets: %v, %d written", n, err, b.Len())
		}
	}
	broken := errors.New("broken off")
	if _, err := copyMessage(io.Discard, iotest.ErrReader(broken), Envelope{}, 1000); !errors.Is(err, broken) {
		t.Error(err)
	}
}

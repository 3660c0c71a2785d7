package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/message"
)

func TestHeader(t *testing.T) {
	long := "X: " + strings.Repeat("x", 3*headerPiece) + "\n"
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"A: b", "A: b"},
		{"A: b\n", "A: b\r\n"},
		{"A: b\n\nbody", "A: b\r\n\r\n"},
		{"A: b\r\n\r\nbody\r\n\r\n", "A: b\r\n\r\n"},
		{"\nbody", "\r\n"},
		{"\r\nbody", "\r\n"},
		{"A: b\n \nC: d\n\n", "A: b\r\n \r\nC: d\r\n\r\n"},
		{"A: b\r\r\nC: d\n\n\n", "A: b\r\r\nC: d\r\n\r\n"},
		{long + "\nbody", strings.ReplaceAll(long, "\n", "\r\n") + "\r\n"},
		{long, strings.ReplaceAll(long, "\n", "\r\n")},
		{strings.Repeat("x", headerPiece-1) + "\n\nbody", strings.Repeat("x", headerPiece-1) + "\r\n\r\n"},
	} {
		have, err := readHeader(iotest.HalfReader(strings.NewReader(c.text)))
		if err != nil || string(have) != c.want {
			t.Errorf("%.40q: have %.60q, %v, want %.60q", c.text, have, err, c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := readHeader(iotest.ErrReader(broken)); err != broken {
		t.Errorf("have %v", err)
	}
}

func TestOverview(t *testing.T) {
	ctx := context.Background()
	a := openAccount(t, newMaildir(t))
	appendMessage(t, a, "INBOX", "Subject: Re: x\r\nFrom: <a@b>\r\n\r\nTo: no\r\n", imap.FlagDeleted)
	v, other := selectBox(t, a, "INBOX", false), selectBox(t, a, "INBOX", false)
	o, err := v.Reading().Overview(ctx, 1)
	if want := (message.Overview{Subject: "x", Reply: true, From: "a", FromName: "a@b"}); err != nil || !cmp.Equal(o, want) {
		t.Errorf("%v, %s", err, cmp.Diff(want, o))
	}
	if err := other.Expunge(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Reading().Overview(ctx, 1); !errors.Is(err, ErrExpunged) {
		t.Errorf("of an expunged message: %v", err)
	}
}

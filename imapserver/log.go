package imapserver

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
)

// NewLog makes the daemon's log: one line an event, values quoted where they
// hold anything but plain text. Under systemd the journal adds the time and
// takes the priority from the beginning of the line.
func NewLog(w io.Writer) *slog.Logger {
	if os.Getenv("JOURNAL_STREAM") == "" {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(newJournalHandler(w))
}

// journalHandler writes lines as sd-daemon(3) has them: "<4>msg=...".
type journalHandler map[string]slog.Handler // by prefix, the same but for that

func newJournalHandler(w io.Writer) journalHandler {
	h := journalHandler{}
	for _, prefix := range []string{"<3>", "<4>", "<6>", "<7>"} {
		h[prefix] = slog.NewTextHandler(&prefixed{w, prefix}, &slog.HandlerOptions{
			Level:       slog.LevelInfo,
			ReplaceAttr: journalAttr,
		})
	}
	return h
}

// journalAttr drops what the journal has by itself.
func journalAttr(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// prefixed puts the prefix before each line; slog writes one at a time, whole.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p *prefixed) Write(line []byte) (int, error) {
	// A value cannot hold a line feed, but the journal must not be fooled if one did.
	s := strings.ReplaceAll(strings.TrimSuffix(string(line), "\n"), "\n", " ")
	if _, err := io.WriteString(p.w, p.prefix+s+"\n"); err != nil {
		return 0, err
	}
	return len(line), nil
}

func prefix(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

func (h journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	return h[prefix(r.Level)].Handle(ctx, r)
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	return h.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (h journalHandler) each(f func(slog.Handler) slog.Handler) journalHandler {
	made := journalHandler{}
	for prefix, each := range h {
		made[prefix] = f(each)
	}
	return made
}

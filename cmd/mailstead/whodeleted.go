package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
	"mailstead/render"
)

type whoDeletedOptions struct {
	state, user, mailbox, output string
	uid                          uint32
}

func newWhoDeletedCommand() *cobra.Command {
	var o whoDeletedOptions
	cmd := &cobra.Command{
		Use:   "who-deleted [MESSAGE-ID | --user USER [--mailbox MAILBOX [--uid UID]]]",
		Short: "say which session removed or moved a message",
		Long: `Says who expunged, moved or purged a message: whose session it was, from which
address and with what program, when, and by which command. A message is named
by its Message-ID, or by user, mailbox and UID; without a UID everything that
has left the mailbox is shown. The daemon keeps a record of removals for 60
days (STATE/auth/removals), which root alone can read. What another program has
removed, such as a mail reader on the host itself, is told without a session.` + exitStatus(exitDone, exitFailed),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			switch {
			case id == "" && o.user == "":
				return usageError(cmd, errors.New("name a message by its Message-ID, or a user by --user"))
			case o.uid != 0 && o.mailbox == "":
				return usageError(cmd, errors.New("--uid needs --mailbox: UIDs are a mailbox's own"))
			}
			return runWhoDeleted(o, id, newConsole(cmd))
		},
	}
	addState(cmd, &o.state)
	cmd.Flags().StringVarP(&o.user, "user", "u", "", "of the user of this `name` only")
	cmd.Flags().StringVar(&o.mailbox, "mailbox", "", "from the mailbox of this `name`")
	cmd.Flags().Uint32Var(&o.uid, "uid", 0, "the message with this UID")
	addOutput(cmd, &o.output)
	return cmd
}

func runWhoDeleted(o whoDeletedOptions, id string, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	host, _, err := readApplied(o.state)
	if err != nil {
		return err
	}
	o.user = calledUser(host, o.user)
	if strings.EqualFold(o.mailbox, maildir.Inbox) { // RFC 9051 §5.1
		o.mailbox = maildir.Inbox
	}
	dir := render.RecordDir(host.Paths)
	found, first, err := searchRemovals(dir, time.Time{}, func(r *control.Removal) bool { return o.wants(r, id) })
	if err != nil {
		return err
	}
	if err := unknownUser(host, o.user); err != nil && len(found) == 0 { // one who is gone has a record all the same
		fmt.Fprintf(c.err, "mailstead: warning: %s\n", strings.Join(append([]string{err.Error()}, hints(err)...), "; "))
	}
	if o.output == outputJSON {
		return writeJSON(c.out, append([]control.Removal{}, found...))
	}
	switch {
	case first == "":
		_, err = fmt.Fprintln(c.out, "Nothing has been removed since there is a record.")
		return err
	case len(found) > 0:
		return writeRemovals(c, found)
	}
	if _, err := fmt.Fprintf(c.out, "No such removal since %s, when the record begins.\n", first); err != nil || id == "" {
		return err
	}
	return o.writeDeleted(c, dir)
}

// wants tells whether a removal is one that was asked for. A mailbox that is gone as
// a whole took along whatever was in it.
func (o whoDeletedOptions) wants(r *control.Removal, id string) bool {
	switch {
	case o.user != "" && r.User != o.user, o.mailbox != "" && r.Mailbox != o.mailbox:
		return false
	case o.uid != 0 && r.UID != o.uid && r.UID != 0:
		return false
	}
	return id == "" || bareID(r.MessageID) == bareID(id)
}

// writeDeleted names the mailboxes that were deleted as a whole: of their messages the
// record has no Message-IDs.
func (o whoDeletedOptions) writeDeleted(c *console, dir string) error {
	found, _, err := searchRemovals(dir, time.Time{}, func(r *control.Removal) bool {
		return r.UID == 0 && r.To == "" && o.wants(r, "")
	})
	if err != nil || len(found) == 0 {
		return err
	}
	fmt.Fprintln(c.out, "It may have been in a mailbox that was deleted with all that was in it:")
	return writeRemovals(c, found)
}

// bareID is a Message-ID without its brackets.
func bareID(id string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(id), "<"), ">")
}

// searchRemovals reads the record, day by day, from the day of since on; first is the
// day with which it begins, "" if there is none.
func searchRemovals(dir string, since time.Time, wanted func(*control.Removal) bool) (found []control.Removal, first string, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the record of removals: %w", err)
	}
	for _, f := range files {
		day, ok := strings.CutSuffix(f.Name(), ".ndjson")
		if !ok {
			continue
		}
		if first == "" {
			first = day
		}
		if day < since.UTC().Format(time.DateOnly) {
			continue
		}
		if found, err = searchDay(filepath.Join(dir, f.Name()), found, wanted); err != nil {
			return nil, first, fmt.Errorf("read the record of removals: %w", err)
		}
	}
	slices.SortStableFunc(found, func(a, b control.Removal) int { return a.At.Compare(b.At) })
	return found, first, nil
}

// maxRemovalLine bounds a line of the record. A longer one is what a power cut has left
// in place of lines: zeros, without an end.
const maxRemovalLine = 64 << 10

func searchDay(path string, found []control.Removal, wanted func(*control.Removal) bool) ([]control.Removal, error) {
	file, err := os.Open(path)
	if err != nil {
		return found, err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, maxRemovalLine)
	for long := false; ; {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = true
			continue
		}
		var r control.Removal
		if !long && json.Unmarshal(line, &r) == nil && wanted(&r) { // a line may have been torn by a power cut
			found = append(found, r)
		}
		long = false
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
	}
}

func writeRemovals(c *console, all []control.Removal) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tUSER\tFROM\tUID\tHOW\tBY\tSESSION\tADDRESS\tCLIENT")
	for _, r := range all {
		uid := "all"
		if r.UID != 0 {
			uid = fmt.Sprint(r.UID)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.At.Local().Format(time.DateTime), visible(r.User), visible(r.Mailbox), uid,
			visible(howRemoved(r)), orDash(r.By), orDash(r.Session), whence(r), orDash(r.Client))
	}
	return w.Flush()
}

// howRemoved says what became of a message.
func howRemoved(r control.Removal) string {
	switch {
	case r.Command == "":
		return "removed by another program"
	case r.ToUID != 0:
		return fmt.Sprintf("%s to %s, UID %d", r.Command, r.To, r.ToUID)
	case r.To != "":
		return r.Command + " to " + r.To
	}
	return r.Command
}

// whence is where a session came from.
func whence(r control.Removal) string {
	if r.Address == "" && r.Session != "" {
		return "control socket"
	}
	return orDash(r.Address)
}

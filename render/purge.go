package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"mailstead/schema"
)

// PurgeRule says from which folder of a user messages are removed, and when.
type PurgeRule struct {
	User   string `json:"user"`
	Folder string `json:"folder"`          // without the namespace prefix
	Days   int    `json:"days"`            // since a message came in
	Inbox  bool   `json:"inbox,omitempty"` // it is meant for INBOX, which no rule is for that does not say so
}

// inbox is the folder that a rule has to be meant for.
const inbox = "INBOX"

// PurgeFile is the path of the rules that are in force.
func PurgeFile(p schema.Paths) string { return path.Join(p.State, "purge.ndjson") }

// PurgeDir is where "mailstead purge" notes when it was last at work.
func PurgeDir(p schema.Paths) string { return path.Join(p.State, "purge") }

// PurgeRules gives the rules of a host, by user and folder.
func PurgeRules(host *schema.Host) (rules []PurgeRule) {
	for _, u := range host.Users {
		if u.Elsewhere != "" {
			continue
		}
		if u.PurgeInbox > 0 {
			rules = append(rules, PurgeRule{User: u.Name, Folder: inbox, Days: u.PurgeInbox, Inbox: true})
		}
		for _, f := range u.Folders {
			if f.PurgeAfter > 0 {
				rules = append(rules, PurgeRule{User: u.Name, Folder: f.Name, Days: f.PurgeAfter})
			}
		}
	}
	return rules
}

// purgeHead is the first line of the file.
const purgeHead = "# Kept by mailstead: \"mailstead apply\" writes this file again. A rule a line, for \"mailstead purge\".\n"

// EncodePurge writes the file.
func EncodePurge(rules []PurgeRule) ([]byte, error) {
	b := bytes.NewBufferString(purgeHead)
	for _, r := range rules {
		line, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes(), nil
}

// ParsePurge reads it.
func ParsePurge(data []byte) (rules []PurgeRule, err error) {
	for n, line := range bytes.SplitAfter(data, []byte("\n")) {
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		var r PurgeRule
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		if line[len(line)-1] != '\n' || r.User == "" || r.Folder == "" || r.Days < 1 || r.Inbox != (r.Folder == inbox) || !r.Inbox && strings.EqualFold(r.Folder, inbox) {
			return nil, fmt.Errorf("line %d: no rule that mail can be removed by", n+1)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

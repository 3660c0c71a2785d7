package maildir

import (
	"bytes"
	"fmt"
	"strings"
)

// DovecotSubscriptionsFile is Dovecot's list of subscribed names, in the top
// Maildir.
const DovecotSubscriptionsFile = "subscriptions"

// dovecotV2 begins a list of version 2.
const dovecotV2 = "V\t2\n"

// ParseDovecotSubscriptions reads Dovecot's subscriptions: a name a line, in
// modified UTF-7 and without the namespace's prefix; in version 2, which has a
// heading, tabs part the levels. Dovecot's names are INBOX's inferiors or its
// equals by the configuration, which is not known here: "INBOX.Sent" is "Sent".
// Lines that name no mailbox are counted in dropped.
func ParseDovecotSubscriptions(data []byte) (s Subscriptions, dropped int) {
	text, v2 := strings.CutPrefix(string(data), dovecotV2)
	for line := range strings.Lines(text) {
		name := strings.TrimRight(line, "\r\n")
		if name == "" {
			continue
		}
		if v2 {
			if strings.Contains(name, ".") {
				dropped++ // a level with the separator in it
				continue
			}
			name = strings.ReplaceAll(name, "\t", ".")
		}
		if len(name) > len(inboxPrefix) && strings.EqualFold(name[:len(inboxPrefix)], inboxPrefix) {
			name = name[len(inboxPrefix):]
		}
		if strings.EqualFold(name, Inbox) {
			s.Set(Inbox, true)
			continue
		}
		decoded, err := DecodeName("."+name, ModifiedUTF7)
		if err != nil {
			if decoded, err = DecodeName("."+name, UTF8); err != nil {
				dropped++
				continue
			}
		}
		s.Set(decoded, true)
	}
	return s, dropped
}

// EncodeDovecotSubscriptions is the inverse of ParseDovecotSubscriptions, in version
// 2. What is of other users has no place there.
func EncodeDovecotSubscriptions(s Subscriptions) ([]byte, error) {
	b := bytes.NewBufferString(dovecotV2 + "\n")
	for _, name := range s.Names() {
		if name != Inbox {
			dir, err := EncodeName(name, ModifiedUTF7)
			if err != nil {
				return nil, fmt.Errorf("encode subscriptions: %w", err)
			}
			name = strings.ReplaceAll(dir[1:], ".", "\t")
		}
		b.WriteString(name + "\n")
	}
	return b.Bytes(), nil
}

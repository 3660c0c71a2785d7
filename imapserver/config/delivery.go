package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Delivery is one user of a table of deliveries: who owns the mail, and where it is.
type Delivery struct {
	Name    string `json:"name"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Maildir string `json:"maildir"` // absolute
	Quota   *Quota `json:"quota,omitempty"`
}

// DeliveryHead is its first line: how addresses become users.
type DeliveryHead struct {
	Version int `json:"version"`
	// Domains are those, in lower case, whose addresses are users by the part
	// before the "@", where no user has the whole address as a name.
	Domains []string `json:"domains"`
	// Detail parts a user's name from that of a mailbox: "+"; "" does not.
	Detail string `json:"detail,omitempty"`
	// Root is the directory below which all mail of the table is; "": each Maildir
	// is by itself.
	Root string `json:"root,omitempty"`
	// Capitals are the names of the table that have some: senders write them in any case.
	Capitals []string `json:"capitals,omitempty"`
	// Whole are addresses, in lower case, that are users of the other table by their
	// whole name, while their local part is a name in this one.
	Whole []string `json:"whole,omitempty"`
	// Open says that there are users of directories besides, whom no table has.
	Open bool `json:"open,omitempty"`
	// Ask is the path of the socket at which auth says where their mail is.
	Ask string `json:"ask,omitempty"`
}

// The names of the two tables, in the directory of this package's other files.
// Accounts of the host are no secret, and each of them may run mailstead-deliver;
// of the others nobody is told but the owner of their mail.
const (
	SystemDeliveries  = "delivery.ndjson"
	VirtualDeliveries = "delivery-virtual.ndjson"
)

// EncodeDeliveries writes a table, its rows by name.
func EncodeDeliveries(w io.Writer, h DeliveryHead, rows []Delivery) error {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Delivery) int { return strings.Compare(a.Name, b.Name) })
	h.Version, h.Capitals = FormatVersion, nil
	for _, r := range rows {
		if strings.ToLower(r.Name) != r.Name {
			h.Capitals = append(h.Capitals, r.Name)
		}
	}
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(h); err != nil {
		return fmt.Errorf("write deliveries: %w", err)
	}
	for _, r := range rows {
		if err := errors.Join(checkText(r.Name), checkPath(r.Maildir), checkIdentity(r.UID, r.GID)); err != nil {
			return fmt.Errorf("encode delivery to %q: %w", r.Name, err)
		}
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("write deliveries: %w", err)
		}
	}
	return b.Flush()
}

// Deliveries is a table as it was read. Rows are looked for in its text: most
// programs that read it want one.
type Deliveries struct {
	DeliveryHead
	text []byte
}

// ParseDeliveries takes the text of a table.
func ParseDeliveries(text []byte) (*Deliveries, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	t := &Deliveries{text: text}
	if !bytes.HasSuffix(text, []byte("\n")) {
		return nil, errors.New("the table of deliveries is torn: its last line has no end")
	}
	if err := json.Unmarshal(line, &t.DeliveryHead); err != nil {
		return nil, fmt.Errorf("the table of deliveries is torn: %w", err)
	}
	if t.Version != FormatVersion {
		return nil, versionError(t.Version)
	}
	return t, nil
}

// Row gives the row of the user with that very name.
func (t *Deliveries) Row(name string) (r Delivery, ok bool, err error) {
	var key bytes.Buffer
	e := json.NewEncoder(&key)
	e.SetEscapeHTML(false)
	if err := e.Encode(name); err != nil {
		return r, false, err
	}
	prefix := append([]byte("\n{\"name\":"), bytes.TrimSuffix(key.Bytes(), []byte("\n"))...)
	i := bytes.Index(t.text, append(prefix, ','))
	if i < 0 {
		return r, false, nil
	}
	line, _, _ := bytes.Cut(t.text[i+1:], []byte("\n"))
	if err := decodeStrict(line, &r); err != nil {
		return r, false, fmt.Errorf("the table of deliveries is torn: %w", err)
	}
	return r, true, nil
}

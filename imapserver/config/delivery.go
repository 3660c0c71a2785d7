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

// Deliveries is a table. Its rows, which are in the order of their names, are looked for
// where they are: most programs that read it want one of very many.
type Deliveries struct {
	DeliveryHead
	text io.ReaderAt
	rows int64 // where they begin
	size int64
}

// maxDeliveryHead bounds the first line, in octets.
const maxDeliveryHead = 64 << 20

// ReadDeliveries reads the head of a table of so many octets. text is read from for as
// long as rows are looked for.
func ReadDeliveries(text io.ReaderAt, size int64) (*Deliveries, error) {
	t := &Deliveries{text: text, size: size}
	line, err := bufio.NewReader(io.NewSectionReader(text, 0, min(size, maxDeliveryHead))).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	last := []byte{0}
	if _, err := text.ReadAt(last, size-1); err != nil || last[0] != '\n' {
		return nil, errors.New("the table of deliveries is torn: its last line has no end")
	}
	if err := json.Unmarshal(line, &t.DeliveryHead); err != nil {
		return nil, fmt.Errorf("the table of deliveries is torn: %w", err)
	}
	if t.Version != FormatVersion {
		return nil, versionError(t.Version)
	}
	t.rows = int64(len(line))
	return t, nil
}

// Row gives the row of the user with that very name.
func (t *Deliveries) Row(name string) (r Delivery, ok bool, err error) {
	for from, to := t.rows, t.size; from < to; {
		start, line, err := t.line(from, from+(to-from)/2)
		if err != nil {
			return r, false, err
		}
		var has struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(line, &has); err != nil {
			return r, false, fmt.Errorf("the table of deliveries is torn: %w", err)
		}
		switch order := strings.Compare(has.Name, name); {
		case order < 0:
			from = start + int64(len(line)) + 1
		case order > 0:
			to = start
		default:
			if err := decodeStrict(line, &r); err != nil {
				return r, false, fmt.Errorf("the table of deliveries is torn: %w", err)
			}
			return r, true, nil
		}
	}
	return r, false, nil
}

// line gives the line that has the octet at, and where it begins. None of it is before
// from, where a line begins.
func (t *Deliveries) line(from, at int64) (start int64, line []byte, err error) {
	for around := int64(512); ; around *= 4 {
		first, end := max(from, at-around), min(t.size, at+around)
		text := make([]byte, end-first)
		if _, err := t.text.ReadAt(text, first); err != nil {
			return 0, nil, fmt.Errorf("read the table of deliveries: %w", err)
		}
		before := bytes.LastIndexByte(text[:at-first], '\n') + 1
		n := bytes.IndexByte(text[before:], '\n')
		switch {
		case n >= 0 && (before > 0 || first == from):
			return first + int64(before), text[before : before+n], nil
		case n < 0 && end == t.size:
			return 0, nil, errors.New("the table of deliveries is torn: its last line has no end")
		}
	}
}

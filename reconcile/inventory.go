package reconcile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// InventoryFile is the file of the state directory that says what was applied.
const InventoryFile = "inventory.json"

const inventoryVersion = 1

// contentAttr is the attribute that holds a file's text.
const contentAttr = "content"

// Inventory is what Mailstead has put on a host, or has begun to: nothing else
// is ever removed. Of contents it holds digests. A nil Inventory is one of
// which nothing is known.
type Inventory struct {
	entries map[Ref]entry
	run     *run   // the apply that began and did not record its end; nil: none
	file    string // digest of the file that it was read from or written to; "" if there was none
}

// moving stands in the place of the digest while another apply is at work: what
// is seen then may be otherwise a moment later, and no inventory has it.
const moving = "moving"

// digest tells two inventories apart that were read; "" if none could be.
func (inv *Inventory) digest() string {
	switch {
	case inv == nil:
		return ""
	case inv.file == "":
		return "none"
	}
	return inv.file
}

// entry is one resource of an inventory.
type entry struct {
	Ref     Ref        `json:"ref"`
	Origin  string     `json:"origin,omitempty"`
	Attrs   []Attr     `json:"attrs"`
	Pending bool       `json:"pending,omitempty"` // its application began, and was not seen to end well
	Made    bool       `json:"made,omitempty"`    // while pending: an earlier application did end well
	Before  []Resource `json:"before,omitempty"`  // while pending: what may be there of earlier applications
}

func (e entry) resource() Resource {
	return Resource{Ref: e.Ref, Origin: e.Origin, Attrs: e.Attrs}
}

// made tells whether an application of it was seen to end well.
func (e entry) made() bool { return e.Made || !e.Pending }

// neverMade tells whether changes were begun, none was ever seen to end, and
// none left a trace in what is there: then that is somebody else's.
func (e entry) neverMade(have *Resource) bool {
	if e.made() {
		return false
	}
	return !slices.ContainsFunc(append(e.Before, e.resource()), func(was Resource) bool {
		return !slices.ContainsFunc(differences(have, &was), func(x difference) bool { return !x.Runs })
	})
}

// brief is the value of an attribute as the inventory keeps it: contents and
// secrets as digests.
func brief(a Attr) string {
	if !a.Secret && a.Name != contentAttr || isDigest(a.Value) {
		return a.Value
	}
	return digestOf(a.Value)
}

func digestOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return digestPrefix + hex.EncodeToString(sum[:])
}

const digestPrefix = "sha256:"

func isDigest(v string) bool {
	return len(v) == len(digestPrefix)+2*sha256.Size && strings.HasPrefix(v, digestPrefix)
}

// newEntry is what the inventory keeps of a resource.
func newEntry(r Resource) entry {
	e := entry{Ref: r.Ref, Origin: r.Origin, Attrs: make([]Attr, len(r.Attrs))}
	for i, a := range r.Attrs {
		a.Value = brief(a)
		e.Attrs[i] = a
	}
	return e
}

// ReadInventory reads the inventory of a state directory; one that does not
// exist is empty.
func ReadInventory(state string) (*Inventory, error) {
	inv := &Inventory{entries: map[Ref]entry{}}
	if state == "" {
		return inv, nil
	}
	path := filepath.Join(state, InventoryFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return inv, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	if err := inv.decode(data); err != nil {
		return nil, fmt.Errorf("read inventory %s: %w", path, err)
	}
	inv.file = fileDigest(data)
	return inv, nil
}

// inventoryJSON is the file: one resource a line, in the order of their names.
type inventoryJSON struct {
	Version   int     `json:"version"`
	Run       *run    `json:"run"`
	Resources []entry `json:"resources"`
}

func (inv *Inventory) decode(data []byte) error {
	var f inventoryJSON
	err := json.Unmarshal(data, &f)
	if f.Version != inventoryVersion && (err == nil || f.Version != 0) {
		return fmt.Errorf("version %d, and this program knows %d: use the version of mailstead that wrote it", f.Version, inventoryVersion)
	}
	if err != nil {
		return damaged(err)
	}
	inv.run = f.Run
	for _, e := range f.Resources {
		if e.Ref.Kind == "" || e.Ref.Name == "" {
			return damaged(errors.New("a resource without a name"))
		}
		inv.entries[e.Ref] = e
	}
	return nil
}

// damaged says what to do about an inventory that this program did not leave so.
func damaged(err error) error {
	return fmt.Errorf("%w: put back a copy of the file, or move it away and apply again; "+
		"what has left the description since the last apply then stays on the host", err)
}

func (inv *Inventory) encode() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n\"version\": %d,\n", inventoryVersion)
	if inv.run != nil {
		line, err := json.Marshal(inv.run)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\"run\": %s,\n", line)
	}
	b.WriteString("\"resources\": [")
	for i, e := range inv.sorted() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		b.Write(line)
	}
	b.WriteString("\n]\n}\n")
	return b.Bytes(), nil
}

// MarshalJSON gives the inventory as its file holds it.
func (inv *Inventory) MarshalJSON() ([]byte, error) { return inv.encode() }

// UnmarshalJSON reads what MarshalJSON gave.
func (inv *Inventory) UnmarshalJSON(data []byte) error {
	*inv = Inventory{entries: map[Ref]entry{}}
	return inv.decode(data)
}

// Brief gives a resource as the inventory keeps it: contents and secrets as
// their digests.
func (r Resource) Brief() Resource { return newEntry(r).resource() }

// write stores the inventory in the state directory.
func (inv *Inventory) write(state string) error {
	if state == "" {
		return nil
	}
	data, err := inv.encode()
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	if err := ReplaceFile(filepath.Join(state, InventoryFile), Private(data)); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	inv.file = fileDigest(data)
	return nil
}

func fileDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (inv *Inventory) sorted() []entry { return inv.pick(func(Ref) bool { return true }) }

// pick gives the entries with some names, in the order of their names.
func (inv *Inventory) pick(some func(Ref) bool) []entry {
	if inv == nil {
		return nil
	}
	var refs []Ref
	for ref := range inv.entries {
		if some(ref) {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	list := make([]entry, len(refs))
	for i, ref := range refs {
		list[i] = inv.entries[ref]
	}
	return list
}

// Applied gives a resource as it was applied last, with digests for contents and
// secrets. One whose application began and did not end is not among them.
func (inv *Inventory) Applied(ref Ref) (Resource, bool) {
	e, ok := inv.entry(ref)
	return e.resource(), ok && !e.Pending
}

func (inv *Inventory) entry(ref Ref) (entry, bool) {
	if inv == nil {
		return entry{}, false
	}
	e, ok := inv.entries[ref]
	return e, ok
}

// Wrote tells whether a text is the one that an apply gave a file last. known is
// false where the inventory does not have the file.
func (inv *Inventory) Wrote(ref Ref, text string) (same, known bool) {
	e, known := inv.entry(ref)
	if !known {
		return false, false
	}
	r := e.resource()
	return r.Get(contentAttr) == digestOf(text), true
}

// holds tells whether the resource was applied as it is wanted.
func (inv *Inventory) holds(want *Resource) bool {
	e, ok := inv.entry(want.Ref)
	if !ok || e.Pending {
		return false
	}
	was := e.resource()
	return len(differences(&was, want)) == 0
}

// behind tells whether the inventory has to be told that the resource is in
// place. What was there before us stays out of it, unless the kind takes it all
// the same: we did not make it, so it is not ours to remove.
func (inv *Inventory) behind(want *Resource, take bool) bool {
	_, ok := inv.entry(want.Ref)
	return (ok || take) && inv != nil && !inv.holds(want)
}

// was gives everything that earlier applications may have left of a resource.
func (inv *Inventory) was(ref Ref) []Resource {
	e, ok := inv.entry(ref)
	if !ok {
		return nil
	}
	return append([]Resource{e.resource()}, e.Before...)
}

// unwanted gives the entries that no wanted resource has, in the order of
// their names.
func (inv *Inventory) unwanted(want []Resource) []entry {
	wanted := make(map[Ref]bool, len(want))
	for _, r := range want {
		wanted[r.Ref] = true
	}
	return inv.pick(func(ref Ref) bool { return !wanted[ref] })
}

// begin records that changes are about to be made: what will be there, and what
// may be there until then.
func (inv *Inventory) begin(changes []Change) {
	for _, c := range changes {
		e, had := inv.entries[c.Ref]
		if c.Want == nil && !had {
			continue // it is not ours to remove: Apply refuses
		}
		made := had && e.made()
		if c.Want != nil {
			next := newEntry(*c.Want)
			if had {
				next.Before = addBefore(e)
			}
			e = next
		}
		e.Pending, e.Made = true, made
		inv.entries[c.Ref] = e
	}
}

// addBefore is what may be there of an entry that is about to be replaced.
func addBefore(e entry) []Resource {
	before := e.Before
	for _, b := range before {
		was := e.resource()
		if len(differences(&was, &b)) == 0 {
			return before
		}
	}
	return append(slices.Clone(before), e.resource())
}

// settle records how a change that was begun ended well.
func (inv *Inventory) settle(c Change) {
	if c.Want == nil {
		delete(inv.entries, c.Ref)
		return
	}
	inv.entries[c.Ref] = newEntry(*c.Want)
}

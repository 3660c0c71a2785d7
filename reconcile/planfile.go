package reconcile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// PlanFormat is the version of the plan file, which docs/plan-file.md describes.
// A field may be added to it without a new version; none is removed or changes
// its meaning.
const PlanFormat = 1

// maxPlanFile is the largest plan file that is read, in octets: a change of
// 100,000 resources takes a third of it.
const maxPlanFile = 256 << 20

// Saved is a plan as a file holds it. Its secrets are digests under a key of the
// host, so that the file says nothing that a plan on the screen does not.
type Saved struct {
	FormatVersion int         `json:"format_version"`
	ID            string      `json:"id"`  // see Seal
	Key           string      `json:"key"` // says which key the digests are under, not what it is
	Program       string      `json:"program"`
	Made          time.Time   `json:"made"`
	Description   Description `json:"description"`
	Selection     Selection   `json:"selection"`
	Plan
	Summary json.RawMessage `json:"summary,omitempty"` // counts, for the reader
}

// Description says what a plan was made from. The values of tags may be secrets
// and are not kept.
type Description struct {
	Paths    []string `json:"paths"` // absolute
	Host     string   `json:"host"`
	Tags     []string `json:"tags,omitempty"` // names of those that were set
	Rootless bool     `json:"rootless,omitempty"`
}

// keyName is the text whose digest tells keys apart.
const keyName = "mailstead plan key 1"

// keyID tells keys apart without telling them.
func keyID(key []byte) string { return keyed(key, keyName) }

// Save masks a plan under the key. The caller says what it was made from, and
// seals it.
func (p *Plan) Save(key []byte, made time.Time) *Saved {
	return &Saved{FormatVersion: PlanFormat, Key: keyID(key), Made: made.UTC(), Plan: *p.Masked(key)}
}

// Seal gives a plan its id, after which Check finds out what is altered.
func (s *Saved) Seal(key []byte) { s.ID = s.id(key) }

// id is the digest of the whole file: of all that Bind goes by, and all that is read
// before a plan is approved. The time keeps two plans apart that would do the same.
func (s *Saved) id(key []byte) string {
	whole := *s
	whole.ID = ""
	return keyedJSON(key, &whole)
}

// keyedJSON is the digest of a value whose encoding cannot fail. What is no text is
// marked by an escape, and no more by one when it has been read from a file.
func keyedJSON(key []byte, value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // only texts, numbers and times are digested
	}
	return keyed(key, bytes.ReplaceAll(data, []byte(`\ufffd`), []byte("\ufffd")))
}

// digest is what stands for a masked resource as a whole.
func (r *Resource) digest(key []byte) string {
	if r == nil {
		return keyedJSON(key, nil)
	}
	pairs := make([][2]string, len(r.Attrs))
	for i, a := range r.Attrs {
		pairs[i] = [2]string{a.Name, a.Value}
	}
	return keyedJSON(key, pairs)
}

// ErrForeignKey says that a plan's digests are under a key that is not this host's.
var ErrForeignKey = errors.New("the plan was made on another host, or the key of its digests has been lost")

// ErrAltered says that a plan file is not what was saved.
var ErrAltered = errors.New("the plan file was changed after it was made")

// Check says whether a plan is what was saved under one of the host's keys, and
// gives that key.
func (s *Saved) Check(keys [][]byte) ([]byte, error) {
	for _, key := range keys {
		if keyID(key) != s.Key {
			continue
		}
		for _, c := range s.Changes {
			if c.Have.digest(key) != c.Saw || c.Want.digest(key) != c.Wants {
				return nil, fmt.Errorf("%s: %w", c.Ref, ErrAltered)
			}
		}
		if s.id(key) != s.ID {
			return nil, ErrAltered
		}
		return key, nil
	}
	return nil, ErrForeignKey
}

// Encode writes the file: JSON, one resource a line.
func (s *Saved) Encode(w io.Writer) error {
	b := bufio.NewWriter(w)
	first := true
	field := func(name string, empty bool, value any) error {
		if empty {
			return nil
		}
		if first {
			b.WriteString("{\n")
		} else {
			b.WriteString(",\n")
		}
		first = false
		fmt.Fprintf(b, "  %q: ", name)
		return encodeLine(b, value)
	}
	err := errors.Join(
		field("format_version", false, s.FormatVersion),
		field("id", false, s.ID),
		field("key", false, s.Key),
		field("program", false, s.Program),
		field("made", false, s.Made),
		field("description", false, s.Description),
		field("selection", false, s.Selection),
		field("host", false, s.Host),
		field("changes", false, lines[Change](s.Changes)),
		field("unchanged", false, s.Unchanged),
		field("blocked", len(s.Blocked) == 0, lines[Waiting](s.Blocked)),
		field("unreadable", len(s.Unreadable) == 0, lines[Unread](s.Unreadable)),
		field("left_out", len(s.LeftOut) == 0, lines[Aside](s.LeftOut)),
		field("deferred", len(s.Deferred) == 0, lines[Aside](s.Deferred)),
		field("notes", len(s.Notes) == 0, lines[string](s.Notes)),
		field("people", s.People == nil, s.People),
		field("record", len(s.Record) == 0, lines[Resource](s.Record)),
		field("forget", len(s.Forget) == 0, lines[Ref](s.Forget)),
		field("summary", len(s.Summary) == 0, s.Summary),
	)
	b.WriteString("\n}\n")
	return errors.Join(err, b.Flush())
}

// lines is a list that is written with one element a line.
type lines[T any] []T

// writeLines writes the list; each element stands for itself, so that files can
// be compared line by line.
func (l lines[T]) writeLines(b *bufio.Writer) error {
	b.WriteString("[")
	for i, element := range l {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n    ")
		if err := encodeLine(b, element); err != nil {
			return err
		}
	}
	if len(l) > 0 {
		b.WriteString("\n  ")
	}
	_, err := b.WriteString("]")
	return err
}

func encodeLine(b *bufio.Writer, value any) error {
	if l, ok := value.(interface{ writeLines(*bufio.Writer) error }); ok {
		return l.writeLines(b)
	}
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	_, err := b.Write(bytes.TrimSuffix(line.Bytes(), []byte("\n")))
	return err
}

// ReadPlan reads a plan file. It may come from anywhere: nothing of it is done
// that Bind does not find again on the host.
func ReadPlan(r io.Reader) (*Saved, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPlanFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPlanFile {
		return nil, fmt.Errorf("larger than %d MB", maxPlanFile>>20)
	}
	var v struct {
		FormatVersion *int `json:"format_version"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("not a plan file, or a damaged one: %w", err)
	}
	if v.FormatVersion == nil {
		return nil, errors.New("not a plan file: it has no format_version")
	}
	if *v.FormatVersion != PlanFormat {
		return nil, fmt.Errorf("format_version %d, and this program knows %d: use the version of mailstead that made it", *v.FormatVersion, PlanFormat)
	}
	s := &Saved{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("a damaged plan file: %w", err)
	}
	return s, s.valid()
}

// valid finds what no plan that was saved has.
func (s *Saved) valid() error {
	if !isKeyed(s.ID) || !isKeyed(s.Key) {
		return errors.New("a damaged plan file: no id, or no key")
	}
	seen := make(map[Ref]bool, len(s.Changes))
	for _, c := range s.Changes {
		switch {
		case c.Ref.Kind == "" || c.Ref.Name == "":
			return errors.New("a damaged plan file: a change of nothing")
		case c.Op == "":
			return fmt.Errorf("a damaged plan file: %s: no operation", c.Ref)
		case seen[c.Ref]:
			return fmt.Errorf("a damaged plan file: %s is changed twice", c.Ref)
		case c.Have == nil && c.Want == nil,
			c.Have != nil && c.Have.Ref != c.Ref, c.Want != nil && c.Want.Ref != c.Ref:
			return fmt.Errorf("a damaged plan file: %s: a change of something else", c.Ref)
		}
		seen[c.Ref] = true
	}
	return nil
}

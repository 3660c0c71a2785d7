package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxConfigSize bounds config.json: some thousand bundles with their names.
const MaxConfigSize = 4 << 20

// Parse reads config.json strictly: an unknown field, a field that is given
// twice, anything after the object and every value that Check refuses is an
// error. All faults of the values are reported at once.
func Parse(data []byte) (*Config, error) {
	if len(data) > MaxConfigSize {
		return nil, fmt.Errorf("parse configuration: %d bytes, more than %d", len(data), MaxConfigSize)
	}
	if err := checkVersion(data); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	c := &Config{}
	if err := decodeStrict(data, c); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	return c, nil
}

// Encode writes config.json: indented, with a line feed at the end, the same
// bytes for the same value. What Parse would refuse it does not write.
func Encode(c *Config) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return encodeConfig(c)
}

func encodeConfig(c *Config) ([]byte, error) {
	whole := *c
	if whole.Listeners == nil {
		whole.Listeners = []Listener{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(&whole); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return b.Bytes(), nil
}

// Generation is the digest of everything that the daemon reads: the
// configuration, whatever its own field Generation holds, and the bytes of
// users.ndjson. It depends on nothing else, so the same description gives the
// same generation every time. Certificates are not in it: they are reported
// one by one, by fingerprint.
func Generation(c *Config, users io.Reader) (string, error) {
	bare := *c
	bare.Generation = ""
	data, err := encodeConfig(&bare)
	if err != nil {
		return "", err
	}
	// The length keeps the seam between the two files in the digest.
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s", len(data), data)
	if _, err := io.Copy(h, users); err != nil {
		return "", fmt.Errorf("read users: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func versionError(v int) error {
	return fmt.Errorf("version %d of the file: this program reads version %d (run mailstead apply with the mailstead of the same release)", v, FormatVersion)
}

// checkVersion refuses a file of another version for that, before the fields
// that it has besides are found to be unknown.
func checkVersion(data []byte) error {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err == nil && head.Version != nil && *head.Version != FormatVersion {
		return versionError(*head.Version)
	}
	return nil
}

// decodeStrict decodes exactly one JSON value into v.
func decodeStrict(data []byte, v any) error {
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return describeJSON(data, err)
	}
	if err := checkDuplicates(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return describeJSON(data, err)
	}
	return nil
}

// checkDuplicates refuses in valid JSON an object that names a field twice: encoding/json
// would take the last one, whatever a reader of the file saw first. Names are
// compared without regard to case, as encoding/json matches them to fields.
func checkDuplicates(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		object bool
		key    bool // the next token is a key
		seen   map[string]bool
	}
	var open []level
	for {
		at := d.InputOffset()
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return describeJSON(data, err)
		}
		top := len(open) - 1
		if name, ok := t.(string); ok && top >= 0 && open[top].key {
			folded := strings.ToLower(name)
			if open[top].seen[folded] {
				return fmt.Errorf("%s: field %q is given twice", position(data, nextToken(data, at)), name)
			}
			open[top].seen[folded] = true
			open[top].key = false
			continue
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{object: true, key: true, seen: map[string]bool{}})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if n := len(open); n > 0 {
			open[n-1].key = open[n-1].object
		}
	}
}

// describeJSON gives an error of encoding/json the line and column it lacks.
func describeJSON(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %s", position(data, syntax.Offset-1), syntax)
	case errors.As(err, &kind):
		return fmt.Errorf("%s: %s where %s is expected", strings.TrimSuffix(position(data, kind.Offset-1)+": "+kind.Field, ": "), kind.Value, kind.Type)
	default:
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
}

// nextToken gives the offset of the token that follows an offset.
func nextToken(data []byte, offset int64) int64 {
	for offset < int64(len(data)) && strings.IndexByte(" \t\r\n,", data[offset]) >= 0 {
		offset++
	}
	return offset
}

// position gives line:col of the byte at an offset, both counted from 1.
func position(data []byte, offset int64) string {
	before := data[:min(max(offset, 0), int64(len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	col := len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	return fmt.Sprintf("%d:%d", line, col)
}

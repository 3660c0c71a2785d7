package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strconv"
	"strings"
)

// Courier keeps keywords in a directory beside cur: the file :list for all
// messages, and a file per message that has changed since :list was written.
const (
	KeywordsDir  = "courierimapkeywords"
	KeywordsList = ":list"
)

// maxSidecar bounds what is read of a file beside the messages. A :list of a
// million messages has about 80 MB.
const maxSidecar = 256 << 20

// maxListed bounds what is taken in of the keywords of one message.
const maxListed = 1000

// ParseKeywords reads a :list: names, an empty line, then lines
// "<base name>:<index> <index>...". Indexes out of range are left out.
func ParseKeywords(data []byte) map[string][]string {
	lists := make(map[string][]string)
	var names []string
	inNames := true
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case inNames && line == "":
			inNames = false
		case inNames:
			names = append(names, line)
		default:
			base, indexes, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			var list []string
			for s := range strings.FieldsSeq(indexes) {
				if i, err := strconv.Atoi(s); err == nil && i >= 0 && i < len(names) && len(list) < maxListed {
					list = append(list, names[i])
				}
			}
			lists[base] = list
		}
	}
	return lists
}

// EncodeKeywords makes a :list of messages, by base name, with their keywords,
// parted by spaces. It is nil if there are none. A base name with a colon cannot
// stand there, and is left out.
func EncodeKeywords(messages iter.Seq2[string, string]) []byte {
	var names, lines bytes.Buffer
	index := make(map[string]int)
	for base, keywords := range messages {
		if keywords == "" || strings.Contains(base, ":") {
			continue
		}
		lines.WriteString(base)
		sep := byte(':')
		for k := range strings.FieldsSeq(keywords) {
			i, known := index[k]
			if !known {
				i = len(index)
				index[k] = i
				names.WriteString(k + "\n")
			}
			lines.WriteByte(sep)
			lines.WriteString(strconv.Itoa(i))
			sep = ' '
		}
		lines.WriteByte('\n')
	}
	if len(index) == 0 {
		return nil
	}
	names.WriteByte('\n')
	names.Write(lines.Bytes())
	return names.Bytes()
}

// CourierKeywords is what Courier's files say of the keywords in a folder.
type CourierKeywords struct {
	Lists   map[string][]string // by base name
	Changed map[string]bool     // base names with a file of their own
	Cut     bool                // :list has lost its end, or more
}

// ReadKeywords reads the keywords that Courier has for the messages of a
// folder, by base name: a file of the message's own name counts most, then the
// one of the highest number, then :list. Where there are none, it is empty.
func (f *Folder) ReadKeywords() (CourierKeywords, error) {
	// A file that goes away meanwhile has been folded into another one.
	for try := 0; ; try++ {
		k, err := f.readKeywords()
		if !errors.Is(err, fs.ErrNotExist) || try == 20 {
			return k, err
		}
	}
}

func (f *Folder) readKeywords() (k CourierKeywords, err error) {
	defer f.hold(nil)()
	d, err := openDirAt(f.root, KeywordsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("read %s/%s: %w", f.path, KeywordsDir, err)
	}
	defer closeFD(d)
	l, err := readDir(d, 0, isSnapshotFS(d))
	if err != nil {
		return k, fmt.Errorf("read %s/%s: %w", f.path, KeywordsDir, err)
	}
	defer l.Release()
	k = CourierKeywords{Lists: make(map[string][]string), Changed: make(map[string]bool)}
	newest := make(map[string]keywordsFile)
	for i := range l.Len() {
		name := string(l.Name(i))
		if name == KeywordsList {
			data, err := readFileAt(d, name)
			if err != nil {
				return k, fmt.Errorf("read %s/%s/%s: %w", f.path, KeywordsDir, name, err)
			}
			k.Lists = ParseKeywords(data)
			// Courier removes a :list without names.
			k.Cut = !bytes.Contains(data, []byte("\n\n")) || data[len(data)-1] != '\n'
			continue
		}
		if base, rank, ok := parseKeywordsFile(name); ok && rank > newest[base].rank {
			newest[base] = keywordsFile{name, rank}
		}
	}
	for base, kf := range newest {
		data, err := readFileAt(d, kf.name)
		if errors.Is(err, ErrIrregular) {
			continue
		}
		if err != nil {
			return k, fmt.Errorf("read %s/%s/%s: %w", f.path, KeywordsDir, kf.name, err)
		}
		k.Lists[base] = strings.Fields(string(data))
		k.Changed[base] = true
	}
	return k, nil
}

// ClearKeywords removes the files for single messages, which count more than
// :list, once that says all.
func (f *Folder) ClearKeywords() error {
	names, err := f.keywordFiles()
	if err != nil || len(names) == 0 {
		return err
	}
	return f.RemoveSidecars(InKeywords, names...)
}

func (f *Folder) keywordFiles() ([]string, error) {
	defer f.hold(nil)()
	d, err := f.openPlace(InKeywords)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: InKeywords.path(f, ""), Err: err}
	}
	defer closeFD(d)
	l, err := readDir(d, 0, isSnapshotFS(d))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: InKeywords.path(f, ""), Err: err}
	}
	defer l.Release()
	var names []string
	for i := range l.Len() {
		name := string(l.Name(i))
		if _, _, ok := parseKeywordsFile(name); ok && name != KeywordsList {
			names = append(names, name)
		}
	}
	return names, nil
}

// keywordsFile is a file for one message; of several, the highest rank counts.
type keywordsFile struct {
	name string
	rank uint64
}

// parseKeywordsFile reads the names `<base>` and `.<N>.<base>`.
func parseKeywordsFile(name string) (base string, rank uint64, ok bool) {
	rest, dotted := strings.CutPrefix(name, ".")
	if !dotted {
		return name, 1<<64 - 1, true
	}
	number, base, found := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(number, 10, 63)
	if !found || err != nil || base == "" {
		return "", 0, false // .tmp. and the like
	}
	return base, n + 1, true
}

// ReadSidecar reads a file beside cur. An error wraps fs.ErrNotExist where there
// is none, and ErrIrregular where it is no regular file.
func (f *Folder) ReadSidecar(name string) ([]byte, error) {
	defer f.hold(nil)()
	data, err := readFileAt(f.root, name)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", f.path, name, err)
	}
	return data, nil
}

// OpenSidecar opens a file beside cur, as ReadSidecar does.
func (f *Folder) OpenSidecar(name string) (*File, error) {
	defer f.hold(nil)()
	file, err := openRegularAt(f.root, name)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: f.path + "/" + name, Err: err}
	}
	return file, nil
}

func readFileAt(dirfd int, name string) ([]byte, error) {
	file, err := openRegularAt(dirfd, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if file.Stat().Size > maxSidecar {
		return nil, fmt.Errorf("longer than %d bytes", maxSidecar)
	}
	return io.ReadAll(io.LimitReader(file, maxSidecar))
}

// CourierKeyword tells whether Courier lets a client set a keyword: it refuses
// some of the characters that an atom may have, NIL, and numbers.
func CourierKeyword(name string) bool {
	if name == "" || strings.EqualFold(name, "NIL") || strings.ContainsAny(name, " (){}%*\"\\[]~") {
		return false
	}
	return strings.Trim(name, "0123456789") != ""
}

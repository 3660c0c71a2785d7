package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// generationsDir is the directory of the state directory with what was applied,
// a directory with a number for each apply that changed something.
const generationsDir = "generations"

// The files of it and of a generation. A directory without generationFile, which
// is written last and removed first, is no generation.
const (
	currentLink    = "current"         // link to the generation in force
	tryingFile     = "trying.json"     // the attempt that has not come to its end
	generationFile = "generation.json" // when, by whom, what changed, what came of it
	hostFile       = "host.json.gz"    // the host as applied, with the places in the description
	renderedDir    = "files"           // what was rendered, below it by path
)

const generationVersion = 1

// maxRecorded is how many changes a generation names; the others it counts.
const maxRecorded = 200

// generation is what generationFile says.
type generation struct {
	Version int              `json:"version"`
	Number  int              `json:"number"`
	At      time.Time        `json:"at"`
	By      string           `json:"by"`
	Host    string           `json:"host"`   // SHA-256 of the host as appliedFile has it
	Counts  map[string]int   `json:"counts"` // changes by kind
	Changes []recordedChange `json:"changes"`
	More    int              `json:"more,omitempty"`   // changes that are not in Changes
	Proved  *time.Time       `json:"proved,omitempty"` // when it was last seen to serve
	Left    *departure       `json:"left,omitempty"`   // why it is not to be in force
}

// recordedChange is a change as a generation has it.
type recordedChange struct {
	Ref    string           `json:"ref"`
	Op     reconcile.Op     `json:"op"`
	Origin string           `json:"origin,omitempty"`
	Reason string           `json:"reason"`
	Impact reconcile.Impact `json:"impact"`
}

// departure is a return from a generation.
type departure struct {
	At     time.Time `json:"at"`
	To     int       `json:"to"` // 0: there was none to return to, and the daemon was stopped
	Reason string    `json:"reason"`
}

// attempt is a change from one generation to another whose end is not known yet.
type attempt struct {
	ID   string `json:"id"`   // of the process, for its timer
	From int    `json:"from"` // To where a rollback leads to what serves already
	To   int    `json:"to"`
}

// generations is the directory of a host's generations. Whoever writes holds
// the lock.
type generations struct{ dir string }

func generationsOf(state string) generations {
	return generations{filepath.Join(state, generationsDir)}
}

func (g generations) path(n int, elem ...string) string {
	return filepath.Join(append([]string{g.dir, strconv.Itoa(n)}, elem...)...)
}

// list gives the numbers of all generations, ascending.
func (g generations) list() ([]int, error) {
	all, _, err := g.scan()
	return all, err
}

// scan gives the numbers of all generations, ascending, and those of what a kill
// has left of one that was being written or removed.
func (g generations) scan() (all, torn []int, err error) {
	entries, err := os.ReadDir(g.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list generations: %w", err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n <= 0 || strconv.Itoa(n) != e.Name() {
			continue
		}
		if _, err := os.Lstat(g.path(n, generationFile)); err == nil {
			all = append(all, n)
		} else {
			torn = append(torn, n)
		}
	}
	slices.Sort(all)
	return all, torn, nil
}

func (g generations) read(n int) (*generation, error) {
	data, err := os.ReadFile(g.path(n, generationFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(fmt.Errorf("there is no generation %d", n), "%q lists those that there are", "mailstead history")
	}
	if err != nil {
		return nil, fmt.Errorf("read generation %d: %w", n, err)
	}
	var gen generation
	if err := json.Unmarshal(data, &gen); err != nil {
		return nil, fmt.Errorf("read generation %d: %w", n, err)
	}
	if gen.Version != generationVersion || gen.Number != n {
		return nil, fmt.Errorf("read generation %d: it was written by another version of mailstead", n)
	}
	return &gen, nil
}

func (g generations) readHost(n int) (*applied, error) {
	path := g.path(n, hostFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read generation %d: %w", n, err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	var data []byte
	if err == nil {
		data, err = io.ReadAll(z)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return parseApplied(path, data)
}

// putHost stores the host of a generation. That of ten thousand users, with the
// folders of each, has 20 MB, most of it the same over and over.
func (g generations) putHost(n int, data []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(data)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("write generation %d: %w", n, err)
	}
	return g.put(g.path(n, hostFile), b.Bytes())
}

// write stores what is said of a generation.
func (g generations) write(gen *generation) error {
	data, err := json.MarshalIndent(gen, "", " ")
	if err != nil {
		return fmt.Errorf("write generation %d: %w", gen.Number, err)
	}
	return g.put(g.path(gen.Number, generationFile), append(data, '\n'))
}

// put replaces a file below the directory, for root alone.
func (g generations) put(path string, data []byte) error {
	d, err := reconcile.OpenDir(filepath.Dir(path), true)
	if err != nil {
		return fmt.Errorf("write generation: %w", err)
	}
	defer d.Close()
	if err := d.Replace(filepath.Base(path), reconcile.Private(data)); err != nil {
		return fmt.Errorf("write generation: %w", err)
	}
	return nil
}

// open makes the directory, which nobody else may look into.
func (g generations) open() error {
	d, err := reconcile.OpenDir(g.dir, true)
	if err == nil {
		err = unix.Fchmod(d.FD(), 0o700)
		d.Close()
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", g.dir, err)
	}
	return nil
}

// current gives the generation in force, 0 if there is none.
func (g generations) current() (int, error) {
	target, err := os.Readlink(filepath.Join(g.dir, currentLink))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read generation in force: %w", err)
	}
	n, err := strconv.Atoi(target)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("read generation in force: %s names %q", filepath.Join(g.dir, currentLink), target)
	}
	return n, nil
}

// setCurrent says that a generation is in force.
func (g generations) setCurrent(n int) error {
	d, err := reconcile.OpenDir(g.dir, false)
	if err != nil {
		return fmt.Errorf("name generation in force: %w", err)
	}
	defer d.Close()
	const next = currentLink + "~"
	if err := unix.Unlinkat(d.FD(), next, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("name generation in force: remove %s: %w", next, err)
	}
	if err := unix.Symlinkat(strconv.Itoa(n), d.FD(), next); err != nil {
		return fmt.Errorf("name generation in force: %w", err)
	}
	if err := unix.Renameat(d.FD(), next, d.FD(), currentLink); err != nil {
		return fmt.Errorf("name generation in force: %w", err)
	}
	return d.Sync()
}

// trying gives the attempt that has not come to its end, nil if there is none.
func (g generations) trying() (*attempt, error) {
	data, err := os.ReadFile(filepath.Join(g.dir, tryingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var a attempt
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil {
		return nil, fmt.Errorf("read attempt: %w", err)
	}
	return &a, nil
}

func (g generations) setTrying(a attempt) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return g.put(filepath.Join(g.dir, tryingFile), append(data, '\n'))
}

func (g generations) clearTrying() error {
	d, err := reconcile.OpenDir(g.dir, false)
	if err != nil {
		return fmt.Errorf("end attempt: %w", err)
	}
	defer d.Close()
	return d.Remove(tryingFile)
}

// proven gives the newest generation up to n that was seen to serve and was not
// returned from, 0 if there is none: where a return leads to.
func (g generations) proven(n int) (int, error) {
	all, err := g.list()
	if err != nil {
		return 0, err
	}
	for _, m := range slices.Backward(all) {
		if m > n {
			continue
		}
		gen, err := g.read(m)
		if err != nil {
			return 0, err
		}
		if gen.Proved != nil && gen.Left == nil {
			return m, nil
		}
	}
	return 0, nil
}

// has tells whether there is a generation of which something is true.
func (g generations) has(n int, is func(*generation) bool) bool {
	gen, err := g.read(n)
	return err == nil && is(gen)
}

func proven(gen *generation) bool { return gen.Proved != nil }

// remove takes a generation away.
func (g generations) remove(n int) error {
	if err := os.Remove(g.path(n, generationFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove generation %d: %w", n, err)
	}
	if err := os.RemoveAll(g.path(n)); err != nil {
		return fmt.Errorf("remove generation %d: %w", n, err)
	}
	return nil
}

// keptGenerations is how many generations are kept.
const keptGenerations = 10

// prune removes the oldest generations but those named, and what is none.
func (g generations) prune(spare ...int) error {
	all, torn, err := g.scan()
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range torn {
		errs = append(errs, g.remove(n))
	}
	for _, n := range all[:max(0, len(all)-keptGenerations)] {
		if !slices.Contains(spare, n) {
			errs = append(errs, g.remove(n))
		}
	}
	return errors.Join(errs...)
}

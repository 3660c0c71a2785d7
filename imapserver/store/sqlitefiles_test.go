package store

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteOp is a call by which SQLite changes a file or makes it durable. It has
// been made when it is told of, but for one that is asked about.
type sqliteOp struct {
	call   string // create, write, truncate, sync, syncdir, unlink, open, read
	path   string
	offset int64 // of a write; of truncate: the new size
	data   []byte
}

// sqliteWatch is who is told of SQLite's calls on files below a directory.
type sqliteWatch struct {
	root string
	// before may fail a call, which is then not made; nil: none fails.
	before func(sqliteOp) error
	after  func(sqliteOp)
}

// sqliteFiles stands before SQLite's usual way to files (its VFS), for all
// databases that this process opens.
var sqliteFiles struct {
	once sync.Once
	real sqlite3.Tsqlite3_vfs

	mu      sync.Mutex
	watches []*sqliteWatch
	open    map[uintptr]*sqliteFile // by the address of SQLite's handle
	methods map[uintptr]uintptr     // ours for those of a kind of file
}

type sqliteFile struct {
	path    string
	methods *sqlite3.Tsqlite3_io_methods // the usual ones
	fresh   bool                         // its first sync is one of the directory too
	watch   *sqliteWatch
}

// watchSQLite tells w of all calls until the test is over.
func watchSQLite(t testing.TB, w *sqliteWatch) {
	t.Helper()
	s := &sqliteFiles
	s.once.Do(func() { standBefore(t) })
	s.mu.Lock()
	s.watches = append(s.watches, w)
	s.mu.Unlock()
	t.Cleanup(func() { unwatchSQLite(w) })
}

func unwatchSQLite(w *sqliteWatch) {
	s := &sqliteFiles
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.watches {
		if x == w {
			s.watches = append(s.watches[:i:i], s.watches[i+1:]...)
			break
		}
	}
}

// standBefore registers a copy of the default VFS with our functions in it.
func standBefore(t testing.TB) {
	s := &sqliteFiles
	s.open, s.methods = make(map[uintptr]*sqliteFile), make(map[uintptr]uintptr)
	tls := libc.NewTLS()
	if rc := sqlite3.Xsqlite3_initialize(tls); rc != sqlite3.SQLITE_OK {
		t.Fatalf("sqlite3_initialize: %d", rc)
	}
	usual := sqlite3.Xsqlite3_vfs_find(tls, 0)
	s.real = *at[sqlite3.Tsqlite3_vfs](usual)
	ours := libc.Xmalloc(tls, types.Size_t(unsafe.Sizeof(s.real)))
	v := at[sqlite3.Tsqlite3_vfs](ours)
	*v = s.real
	name, err := libc.CString("watched")
	if err != nil {
		t.Fatal(err)
	}
	v.FzName, v.FpNext = name, 0
	v.FxOpen = pointer(vfsOpen)
	v.FxDelete = pointer(vfsDelete)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, ours, 1); rc != sqlite3.SQLITE_OK {
		t.Fatalf("sqlite3_vfs_register: %d", rc)
	}
}

// pointer gives a C function pointer in the form that the translated SQLite has.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }

// at gives what is at an address outside of Go's memory.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// function is the inverse of pointer.
func function[F any](p uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ p uintptr }{p}))
}

// watchOf gives who is told of a path.
func watchOf(path string) *sqliteWatch {
	s := &sqliteFiles
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		if strings.HasPrefix(path, w.root+"/") {
			return w
		}
	}
	return nil
}

func (w *sqliteWatch) ask(op sqliteOp) error {
	if w == nil || w.before == nil {
		return nil
	}
	return w.before(op)
}

func (w *sqliteWatch) tell(op sqliteOp) {
	if w != nil && w.after != nil {
		w.after(op)
	}
}

// code gives what SQLite's own VFS returns where the kernel returns err.
func code(err error, otherwise int32) int32 {
	switch err {
	case unix.ENOSPC:
		return sqlite3.SQLITE_FULL
	case unix.ENOMEM:
		return sqlite3.SQLITE_IOERR_NOMEM
	}
	return otherwise
}

func vfsOpen(tls *libc.TLS, vfs, zPath, file uintptr, flags int32, out uintptr) int32 {
	path := ""
	if zPath != 0 {
		path = libc.GoString(zPath)
	}
	w := watchOf(path)
	var st unix.Stat_t
	made := flags&sqlite3.SQLITE_OPEN_CREATE != 0 && unix.Lstat(path, &st) == unix.ENOENT
	call := sqliteOp{call: "open", path: path}
	if made {
		call.call = "create"
	}
	if err := w.ask(call); err != nil {
		*at[uintptr](file) = 0
		return code(err, sqlite3.SQLITE_CANTOPEN)
	}
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](sqliteFiles.real.FxOpen)
	rc := open(tls, vfs, zPath, file, flags, out)
	if rc != sqlite3.SQLITE_OK || w == nil {
		return rc
	}
	s := &sqliteFiles
	s.mu.Lock()
	usual := *at[uintptr](file)
	f := &sqliteFile{path: path, watch: w, methods: at[sqlite3.Tsqlite3_io_methods](usual)}
	f.fresh = flags&sqlite3.SQLITE_OPEN_CREATE != 0 && flags&(sqlite3.SQLITE_OPEN_WAL|sqlite3.SQLITE_OPEN_MAIN_JOURNAL|sqlite3.SQLITE_OPEN_SUPER_JOURNAL) != 0
	s.open[file] = f
	if s.methods[usual] == 0 {
		s.methods[usual] = wrapMethods(tls, f.methods)
	}
	*at[uintptr](file) = s.methods[usual]
	s.mu.Unlock()
	if made {
		w.tell(call)
	}
	return rc
}

// wrapMethods gives a table with our functions in place of those that matter.
func wrapMethods(tls *libc.TLS, usual *sqlite3.Tsqlite3_io_methods) uintptr {
	ours := libc.Xmalloc(tls, types.Size_t(unsafe.Sizeof(*usual)))
	m := at[sqlite3.Tsqlite3_io_methods](ours)
	*m = *usual
	m.FxClose = pointer(fileClose)
	m.FxRead = pointer(fileRead)
	m.FxWrite = pointer(fileWrite)
	m.FxTruncate = pointer(fileTruncate)
	m.FxSync = pointer(fileSync)
	return ours
}

func openFile(file uintptr) *sqliteFile {
	s := &sqliteFiles
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[file]
}

func fileClose(tls *libc.TLS, file uintptr) int32 {
	f := openFile(file)
	s := &sqliteFiles
	s.mu.Lock()
	delete(s.open, file)
	s.mu.Unlock()
	return function[func(*libc.TLS, uintptr) int32](f.methods.FxClose)(tls, file)
}

func fileRead(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	f := openFile(file)
	if err := f.watch.ask(sqliteOp{call: "read", path: f.path}); err != nil {
		return code(err, sqlite3.SQLITE_IOERR_READ)
	}
	return function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](f.methods.FxRead)(tls, file, buf, n, offset)
}

func fileWrite(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	f := openFile(file)
	op := sqliteOp{call: "write", path: f.path, offset: offset}
	op.data = append(op.data, unsafe.Slice(at[byte](buf), n)...)
	if err := f.watch.ask(op); err != nil {
		return code(err, sqlite3.SQLITE_IOERR_WRITE)
	}
	rc := function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](f.methods.FxWrite)(tls, file, buf, n, offset)
	if rc == sqlite3.SQLITE_OK {
		f.watch.tell(op)
	}
	return rc
}

func fileTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := openFile(file)
	op := sqliteOp{call: "truncate", path: f.path, offset: size}
	if err := f.watch.ask(op); err != nil {
		return code(err, sqlite3.SQLITE_IOERR_TRUNCATE)
	}
	rc := function[func(*libc.TLS, uintptr, int64) int32](f.methods.FxTruncate)(tls, file, size)
	if rc == sqlite3.SQLITE_OK {
		f.watch.tell(op)
	}
	return rc
}

func fileSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := openFile(file)
	op := sqliteOp{call: "sync", path: f.path}
	if err := f.watch.ask(op); err != nil {
		return code(err, sqlite3.SQLITE_IOERR_FSYNC)
	}
	rc := function[func(*libc.TLS, uintptr, int32) int32](f.methods.FxSync)(tls, file, flags)
	if rc == sqlite3.SQLITE_OK {
		f.watch.tell(op)
		if f.fresh { // as unixSync does
			f.fresh = false
			f.watch.tell(sqliteOp{call: "syncdir", path: filepath.Dir(f.path)})
		}
	}
	return rc
}

func vfsDelete(tls *libc.TLS, vfs, zPath uintptr, dirSync int32) int32 {
	path := libc.GoString(zPath)
	w := watchOf(path)
	op := sqliteOp{call: "unlink", path: path}
	if err := w.ask(op); err != nil {
		return code(err, sqlite3.SQLITE_IOERR_DELETE)
	}
	rc := function[func(*libc.TLS, uintptr, uintptr, int32) int32](sqliteFiles.real.FxDelete)(tls, vfs, zPath, dirSync)
	if rc == sqlite3.SQLITE_OK {
		w.tell(op)
		if dirSync != 0 {
			w.tell(sqliteOp{call: "syncdir", path: filepath.Dir(path)})
		}
	}
	return rc
}

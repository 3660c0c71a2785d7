package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// The directories, in our own, for what is being made and for what has been
// deleted. Neither is ever a mailbox.
const (
	makingDir  = "making"
	deletedDir = "deleted"
)

// recover finishes what a crash may have cut short, when the account is opened.
func (a *Account) recover() error {
	a.purgeTemps(a.dir)
	a.purgeTemps(a.own)
	for _, dir := range []string{makingDir, deletedDir, maildir.KeptDir} {
		if err := a.putBack(filepath.Join(a.own, dir)); err != nil {
			return fmt.Errorf("recover what was set aside: %w", err)
		}
	}
	if err := a.recoverRenames(); err != nil {
		return fmt.Errorf("recover renames: %w", err)
	}
	if err := a.forgetGone(); err != nil {
		return fmt.Errorf("recover mailboxes: %w", err)
	}
	for _, dir := range []string{makingDir, deletedDir} {
		if err := a.removeLeft(filepath.Join(a.own, dir)); err != nil {
			a.log.Warn("cannot remove what is left of a mailbox", "error", err)
		}
	}
	return nil
}

// isSetAside tells the name of a mailbox that nobody was told is gone, in one of our
// directories, from those that we give there.
func isSetAside(name string) bool { return name[0] == '.' }

// putBack gives the mailboxes that are set aside in one of our directories their places
// again, or one beside it where that has been taken meanwhile.
func (a *Account) putBack(dir string) error {
	if realDir(dir) != nil {
		return nil // there is none, or it is planted
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	back := false
	for _, e := range entries {
		if !isSetAside(e.Name()) {
			continue
		}
		to, err := a.place(filepath.Join(dir, e.Name()), e.Name())
		if err != nil {
			a.log.Error("a mailbox that was to be deleted, and is not, cannot be put back", "path", filepath.Join(dir, e.Name()), "error", err)
			continue
		}
		a.log.Warn("put back a mailbox that was to be deleted, and is not", "dir", to)
		back = true
	}
	if back {
		err = a.ops.SyncDir(a.dir)
	}
	return err
}

// purgeTemps removes what was being written into our files in one of the account's
// directories when a process was killed.
func (a *Account) purgeTemps(dir string) {
	if realDir(dir) != nil {
		return
	}
	n, err := maildir.PurgeTemps(dir, time.Now(), maildir.SubscriptionsFile, maildir.ACLFile, maildir.SizeFileName, maildir.SpecialUseFile,
		validityFile, courierUIDNext, maildir.KeptMailboxFile)
	if err != nil {
		a.log.Warn("cannot remove old files", "error", err)
	}
	if n > 0 {
		a.log.Info("removed old files", "path", dir, "files", n)
	}
}

// maxBeside is how many names are tried beside one that is taken.
const maxBeside = 100

// place renames a mailbox's directory to dir or, where that is taken, to a name beside it.
func (a *Account) place(path, dir string) (to string, err error) {
	to = dir
	for n := 1; ; n++ {
		err = a.ops.RenameNew(path, filepath.Join(a.dir, to))
		if !errors.Is(err, fs.ErrExist) || n > maxBeside {
			return to, err
		}
		to = fmt.Sprintf("%s-%d", dir, n)
	}
}

// removeLeft removes one of our directories with what is in it, but for what could not be put
// back.
func (a *Account) removeLeft(dir string) error {
	if realDir(dir) != nil {
		return a.removeAll(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return isSetAside(e.Name()) }) {
		return a.removeAll(dir)
	}
	var errs []error
	for _, e := range entries {
		if !isSetAside(e.Name()) {
			errs = append(errs, a.removeAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// recoverRenames finishes a RENAME that had begun, and lets the index follow it.
// One of which nothing happened leaves things as they were.
func (a *Account) recoverRenames() error {
	var pairs []renamed
	err := a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT dir, dest FROM renaming", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				pairs = append(pairs, renamed{stmt.ColumnText(0), stmt.ColumnText(1)})
				return nil
			},
		})
	})
	if err != nil || len(pairs) == 0 {
		return err
	}
	var moved []renamed
	done := make(map[renamed]bool)
	for _, p := range pairs {
		ok, err := a.wasRenamed(p.dir, p.dest)
		if err != nil {
			return err
		}
		if ok {
			moved, done[p] = append(moved, p), true
		}
	}
	if len(moved) > 0 {
		for _, p := range pairs {
			if done[p] {
				continue
			}
			if err := a.ops.RenameNew(filepath.Join(a.dir, p.dir), filepath.Join(a.dir, p.dest)); err != nil {
				a.log.Error("cannot finish a rename", "error", err)
				continue
			}
			moved = append(moved, p)
		}
		if err := a.ops.SyncDir(a.dir); err != nil {
			return err
		}
	}
	return a.index.update(func(conn *sqlite.Conn) error {
		for _, p := range moved {
			if err := renameRow(conn, p.dir, p.dest); err != nil {
				return err
			}
		}
		return sqlitex.Execute(conn, "DELETE FROM renaming", nil)
	})
}

// wasRenamed tells whether dir is gone and dest is there.
func (a *Account) wasRenamed(dir, dest string) (bool, error) {
	_, err := os.Lstat(filepath.Join(a.dir, dir))
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	_, err = os.Lstat(filepath.Join(a.dir, dest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// renameRow gives a mailbox's row another directory, if there is such a row. A
// row that has it already is of a mailbox that is no more.
func renameRow(conn *sqlite.Conn, dir, dest string) error {
	row, ok, err := findMailbox(conn, dir)
	if err != nil || !ok {
		return err
	}
	if old, ok, err := findMailbox(conn, dest); err != nil {
		return err
	} else if ok {
		if err := dropMailbox(conn, old.id); err != nil {
			return err
		}
	}
	row.dir = dest
	return putMailbox(conn, &row)
}

// forgetGone drops what the index has of mailboxes whose directories are gone.
// One of that name that comes later is another mailbox, with its own
// UIDVALIDITY.
func (a *Account) forgetGone() error {
	dirs, err := a.folderDirs()
	if err != nil {
		return err
	}
	there := map[string]bool{".": true}
	for _, dir := range dirs {
		there[dir] = true
	}
	gone := make(map[string]int64)
	err = a.index.view(func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "SELECT dir, id FROM mailbox", &sqlitex.ExecOptions{
			ResultFunc: func(stmt *sqlite.Stmt) error {
				dir := stmt.ColumnText(0)
				if there[dir] {
					return nil
				}
				// One look may miss what is being renamed.
				_, err := os.Lstat(filepath.Join(a.dir, dir))
				if errors.Is(err, fs.ErrNotExist) {
					gone[dir] = stmt.ColumnInt64(1)
					return nil
				}
				return err
			},
		})
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return a.index.update(func(conn *sqlite.Conn) error {
		for dir, id := range gone {
			a.log.Info("forgot a mailbox that is gone", "dir", dir)
			if err := dropMailbox(conn, id); err != nil {
				return err
			}
		}
		return nil
	})
}

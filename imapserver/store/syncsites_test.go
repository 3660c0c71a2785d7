package store

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// syncCalls are the calls that make something durable, or wait for it.
var syncCalls = map[string]bool{
	"SyncFile": true, "SyncFiles": true, "SyncData": true, "SyncMessage": true, "SyncDir": true, "syncDirFD": true,
	"durable": true, "curSync.wait": true, "newSync.wait": true, "kept.wait": true, "sync.wait": true,
	"folder.Sync": true, "f.Sync": true, "syncNames": true, "kept.Sync": true, "dir.Sync": true, "inbox.Sync": true,
	"WriteFile": true, "ReplaceSidecar": true,
}

// syncSite is one of those calls in the source.
type syncSite struct {
	name  string // function and call, with a number where it has several
	place string // as LeaveOut wants it
}

// findSyncSites finds them all, in this package, in maildir and in deliver. What the
// calls themselves are made of is none.
func findSyncSites(t *testing.T) []syncSite {
	t.Helper()
	var sites []syncSite
	for _, dir := range []string{".", "../maildir", "../deliver"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "maildir/ops.go") {
				continue
			}
			sites = append(sites, sitesOf(t, file)...)
		}
	}
	return sites
}

func sitesOf(t *testing.T, file string) []syncSite {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	var sites []syncSite
	count := make(map[string]int)
	for _, decl := range parsed.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := calleeOf(call)
			if !syncCalls[name] || fn.Recv == nil && name == fn.Name.Name {
				return true
			}
			key := funcName(fn) + " " + name
			if count[key]++; count[key] > 1 {
				key = fmt.Sprintf("%s %d", key, count[key])
			}
			place := fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(abs)), filepath.Base(file), set.Position(call.Pos()).Line)
			sites = append(sites, syncSite{key, place})
			return true
		})
	}
	return sites
}

// calleeOf gives the name of a method, behind that of its receiver where that
// alone tells what it is.
func calleeOf(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	on := ""
	switch x := sel.X.(type) {
	case *ast.SelectorExpr:
		on = x.Sel.Name
	case *ast.Ident:
		on = x.Name
	}
	if sel.Sel.Name == "wait" || sel.Sel.Name == "Sync" {
		return on + "." + sel.Sel.Name
	}
	if on == "maildir" || on == "os" {
		return ""
	}
	return sel.Sel.Name
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	return fmt.Sprint(typ, ".", fn.Name.Name)
}

// TestSyncSites holds the table of what each sync is for to the source.
func TestSyncSites(t *testing.T) {
	found := make(map[string]bool)
	for _, s := range findSyncSites(t) {
		found[s.name] = true
		if !slices.ContainsFunc(syncTable, func(r syncRow) bool { return r.site == s.name }) {
			t.Errorf("%s: nothing says what finds it missing: %q", s.place, s.name)
		}
	}
	for _, r := range syncTable {
		if !found[r.site] {
			t.Errorf("there is no %q", r.site)
		}
	}
	t.Logf("%d places", len(found))
}

// syncRow says what finds the sync at a site missing: one of these runs.
type syncRow struct {
	site string
	runs []crashRunOf
}

// crashRunOf is a run by the names of what it begins with and of its commands.
type crashRunOf struct {
	start    string
	commands string
}

func ours(commands ...string) (list []crashRunOf) { return from("ours", commands...) }

func from(start string, commands ...string) (list []crashRunOf) {
	for _, c := range commands {
		list = append(list, crashRunOf{start, c})
	}
	return list
}

var syncTable = []syncRow{
	{site: "makeWhole SyncDir", runs: from("own", "first")},
	{site: "makeParents SyncDir", runs: from("own", "first")},
	{site: "Account.openKept SyncDir", runs: ours("keep-expunge")},
	{site: "Account.openKept SyncDir 2", runs: ours("keep-expunge")},
	{site: "Account.openKept syncNames", runs: ours("keep-expunge")},
	{site: "mailbox.keepAnew kept.Sync", runs: ours("keep-expunge-anew")},
	{site: "Account.open SyncDir", runs: from("own", "annotate-server")},
	{site: "Account.writeACL SyncDir", runs: ours("rights-parent")},
	{site: "Account.writeACL WriteFile", runs: ours("rights")},
	{site: "CommitAll durable", runs: ours("append")},
	{site: "unsynced.sync SyncFiles", runs: ours("append")},
	{site: "mailbox.durable curSync.wait", runs: ours("append")},
	{site: "mailbox.durable durable", runs: ours("append append")},
	{site: "placing.runClaimed durable", runs: ours("append-keyword")},
	{site: "transfer.run durable", runs: ours("copy", "move")},
	{site: "transfer.unlinkCopied folder.Sync", runs: ours("move-anew")},
	{site: "Account.syncMessage SyncMessage", runs: ours("unsynced-copy", "keep-unsynced")},
	{site: "Account.copyFile SyncFile", runs: ours("copy-anew", "keep-expunge-anew")},
	{site: "courierWrite.writeUIDs ReplaceSidecar", runs: from("courier", "append close")},
	{site: "courierWrite.writeKeywords ReplaceSidecar", runs: from("courier", "append-keyword close")},
	{site: "mailbox.syncRemovals curSync.wait", runs: ours("expunge")},
	{site: "mailbox.syncRemovals newSync.wait", runs: ours("expunge-new")},
	{site: "mailbox.syncRemovals kept.wait", runs: ours("keep-expunge")},
	{site: "View.StoreUnchanged durable", runs: ours("store-both")},
	{site: "View.StoreUnchanged curSync.wait", runs: ours("store")},
	{site: "View.StoreUnchanged durable 2", runs: ours("store store-keyword")},
	{site: "Account.recodeSubscriptions WriteFile", runs: from("named", "handback")},
	{site: "Account.writeDovecotSubscriptions WriteFile", runs: from("own", "to-dovecot")},
	{site: "mailbox.writeDovecotLists ReplaceSidecar", runs: from("own", "to-dovecot")},
	{site: "mailbox.writeDovecotLists ReplaceSidecar 2", runs: from("own", "to-dovecot")},
	{site: "mailbox.writeDovecotACL ReplaceSidecar", runs: from("own", "to-dovecot")},
	{site: "mailbox.writeLetters folder.Sync", runs: from("own", "to-dovecot")},
	{site: "index.remove SyncDir", runs: from("own", "to-dovecot")},
	{site: "index.durable sync.wait", runs: ours("store-keyword")},
	{site: "index.syncWAL SyncData", runs: ours("store-keyword")},
	{site: "Account.subscribe WriteFile", runs: ours("subscribe")},
	{site: "newMailbox syncNames", runs: ours("append")},
	{site: "newMailbox syncNames 2", runs: ours("expunge-new")},
	{site: "Account.syncNames f.Sync", runs: ours("append")},
	{site: "mailbox.commit durable", runs: ours("store unstore")},
	{site: "mailbox.writeUIDNext WriteFile", runs: from("taken", "append")},
	{site: "Account.makeFolder SyncDir", runs: ours("create create")},
	{site: "Account.syncDeleted SyncDir", runs: from("own", "delete-kept")},
	{site: "Account.syncDeleted SyncDir 2", runs: from("own", "delete-unsyncable")},
	{site: "Account.asideDeleted SyncDir", runs: from("own", "delete-unsyncable")},
	{site: "Account.setAside SyncDir", runs: ours("delete")},
	{site: "Account.setAside SyncDir 2", runs: from("own", "delete-refused")},
	{site: "Account.syncFreshOf f.Sync", runs: from("own", "delete-kept-unsynced")},
	{site: "mailbox.noteDeleted WriteFile", runs: from("own", "delete-kept")},
	{site: "Account.renameFolders durable", runs: ours("rename")},
	{site: "Account.renameFolders SyncDir", runs: ours("rename")},
	{site: "Account.renameFolders durable 2", runs: ours("rename create-tree")},
	{site: "Account.SetMetadata durable", runs: ours("annotate annotate-again")},
	{site: "Account.copyMetadata durable", runs: ours("annotate-inbox rename-inbox")},
	{site: "Account.putBack SyncDir", runs: from("deleting", "append")},
	{site: "Account.recoverRenames SyncDir", runs: from("renaming", "append-keyword")},
	{site: "Account.writeUses WriteFile", runs: ours("use")},
	{site: "Account.takeOverACL WriteFile", runs: from("dovecot", "append")},
	{site: "Account.takeOverSubscriptions WriteFile", runs: from("dovecot", "append")},
	{site: "validity.next WriteFile", runs: ours("create")},
	{site: "Ops.WriteFile SyncFile", runs: ours("subscribe")},
	{site: "Ops.WriteFile SyncDir", runs: ours("subscribe")},
	{site: "Ops.MakeTree SyncDir", runs: ours("create")},
	{site: "Ops.MakeTree SyncDir 2", runs: from("own", "make-tree")},
	{site: "Ops.Flatten SyncDir", runs: from("own", "flatten")},
	{site: "Folder.Sync syncDirFD", runs: ours("append")},
	{site: "Deliverer.Deliver SyncFile", runs: from("own", "deliver")},
	{site: "Deliverer.Deliver dir.Sync", runs: from("own", "deliver")},
	{site: "Deliverer.kept inbox.Sync", runs: from("own", "deliver-deleted")},
	{site: "Folder.ReplaceSidecar SyncFile", runs: from("courier", "append close")},
	{site: "Folder.renameSidecar syncDirFD", runs: from("courier", "append-keyword close")},
	{site: "Folder.renameSidecar syncDirFD 2", runs: from("courier", "append close")},
	{site: "SizeFile.Replace WriteFile", runs: ours("quota")},
}

// crashStarts makes what runs begin with.
type crashStarts struct {
	t    *testing.T
	made map[string]crashStart
}

func (s *crashStarts) get(name string) crashStart {
	if st, ok := s.made[name]; ok {
		return st
	}
	var st crashStart
	switch name {
	case "ours":
		st = crashStart{template: crashTemplate(s.t), ours: true}
	case "nothing":
		st = crashStart{template: crashNothing(s.t), fromOpen: true}
	case "courier":
		st = crashStart{template: crashTemplate(s.t), ours: true, courier: true}
	case "named":
		st = crashStart{template: crashNamed(s.t, ".B&APw-cher", ".Plain"), courier: true}
	case "taken":
		st = crashStart{template: crashTaken(s.t, "courier-A", "."), fromOpen: true}
	case "dovecot":
		st = crashStart{template: crashTaken(s.t, "dovecot-A", ".Projects.Alpha"), fromOpen: true}
	case "renaming":
		st = crashRenaming(s.t, s.get("ours"))
	case "deleting":
		st = crashDeleting(s.t, s.get("ours"))
	}
	if s.made == nil {
		s.made = make(map[string]crashStart)
	}
	s.made[name] = st
	return st
}

// run records a run and looks at all that may come of it.
func (s *crashStarts) run(r crashRunOf, n *crashCount) (faults []string) {
	return recordCrash(s.t, s.get(r.start), named(strings.Fields(r.commands)...)...).check(s.t, 0, n)
}

// crashRenaming is a RENAME of several that was cut short in the middle.
func crashRenaming(t *testing.T, start crashStart) crashStart {
	c := recordCrash(t, start, named("rename")...)
	for _, cut := range c.cuts {
		disk := c.disk(cut, crashModels[0], nil)
		has := func(dir string) bool {
			return slices.ContainsFunc(disk, func(f crashFile) bool { return f.path == dir })
		}
		if has(".Moved.A") && has(".Tree") {
			dir := filepath.Join(fastDir(t), "Maildir")
			writeDisk(t, dir, disk)
			return crashStart{template: dir, fromOpen: true, before: c.states[0], after: c.states[1], ours: true}
		}
	}
	t.Fatal("no moment is in the middle of a rename")
	return crashStart{}
}

// crashDeleting is a DELETE that was cut short while it could be undone.
func crashDeleting(t *testing.T, start crashStart) crashStart {
	c := recordCrash(t, start, named("delete")...)
	for _, cut := range c.cuts {
		disk := c.disk(cut, crashModels[0], nil)
		if slices.ContainsFunc(disk, func(f crashFile) bool { return f.path == filepath.Join(maildir.OwnDir, deletedDir, ".Old") }) {
			dir := filepath.Join(fastDir(t), "Maildir")
			writeDisk(t, dir, disk)
			return crashStart{template: dir, fromOpen: true, before: c.states[0], after: c.states[0], ours: true}
		}
	}
	t.Fatal("no moment is in the middle of a delete")
	return crashStart{}
}

// crashFailedDelete is a DELETE of which some calls fail: the mailbox is there after a no,
// and gone after a yes, whatever the disk forgets.
func crashFailedDelete(t *testing.T, fails func(maildir.Op) bool) (faults []string) {
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, crashTemplate(t))
	ctx := context.Background()
	trace := func(maildir.Op) error { return nil }
	a, err := Open(ctx, Options{Maildir: dir, unwatched: true, anyFile: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error { return trace(op) }}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { trace = func(maildir.Op) error { return nil }; a.Close() }()
	c := newCrashFS(t, dir)
	trace = func(op maildir.Op) error {
		if fails(op) {
			return unix.EIO
		}
		return c.trace(op)
	}
	said := a.Delete(ctx, "Old")
	c.ack()
	for _, m := range crashModels {
		for seed := range m.seeds {
			at := filepath.Join(fastDir(t), "Maildir")
			writeDisk(t, at, c.disk(c.cuts[len(c.cuts)-1], m, rand.New(rand.NewPCG(1, uint64(seed)))))
			a, err := Open(ctx, Options{Maildir: at, unwatched: true, anyFile: true})
			if err != nil {
				t.Fatal(err)
			}
			if st, err := a.Status(ctx, "Old", false); (err == nil && st.Messages > 0) != (said != nil) {
				faults = append(faults, fmt.Sprintf("%s, seed %d: it was said %v; %d messages, %v", m.name, seed, said, st.Messages, err))
			}
			a.Close()
		}
	}
	return faults
}

// TestCrashSites runs what is to find each sync missing where none is: nothing is
// wrong.
func TestCrashSites(t *testing.T) {
	if os.Getenv("MAILSTEAD_CRASH") == "" {
		t.Skip("takes minutes: set MAILSTEAD_CRASH=1")
	}
	t.Parallel()
	starts := &crashStarts{t: t}
	count := crashCount{}
	done := make(map[crashRunOf]bool)
	for _, row := range syncTable {
		for _, r := range row.runs {
			if r.start == "own" || done[r] || r.start == "ours" && len(strings.Fields(r.commands)) == 1 {
				continue // TestCrash has it
			}
			done[r] = true
			for _, f := range starts.run(r, &count) {
				t.Error(r.start, f)
			}
		}
	}
	t.Logf("%d runs, %d states, %d different disks", len(done), count.states, count.disks)
}

// crashOwn are runs that are no session's: what they do, and what is wrong with
// what that leaves once it is acknowledged.
var crashOwn = map[string]func(t *testing.T) (faults []string){
	"flatten": func(t *testing.T) []string {
		dir := filepath.Join(fastDir(t), "Maildir")
		for _, box := range []string{"", "A", "A/B"} {
			if err := maildir.MakeTree(filepath.Join(dir, box), false); err != nil {
				t.Fatal(err)
			}
		}
		moves, err := maildir.PlanFlat(dir)
		if err != nil {
			t.Fatal(err)
		}
		run := func(ops *maildir.Ops) error { return ops.Flatten(dir, moves) }
		return crashAfter(t, dir, run, func(dir string) error {
			if left, err := maildir.PlanFlat(dir); err != nil || len(left) > 0 {
				return fmt.Errorf("%v is left, %v", left, err)
			}
			return nil
		})
	},
	"delete-kept":          func(t *testing.T) []string { faults, _ := crashDeleted(t); return faults },
	"delete-kept-unsynced": crashDeletedUnsynced,
	// The last sync fails alone.
	"delete-refused": func(t *testing.T) []string {
		return crashFailedDelete(t, func(op maildir.Op) bool { return op.Call == "syncdir" && filepath.Base(op.Path) == deletedDir })
	},
	// Nothing can be done any more from the first sync on that comes after a rename.
	"delete-unsyncable": func(t *testing.T) []string {
		renamed, failed := false, false
		return crashFailedDelete(t, func(op maildir.Op) bool {
			renamed = renamed || op.Call == "rename"
			failed = failed || renamed && op.Call == "syncdir"
			return failed
		})
	},
	"make-tree": func(t *testing.T) []string {
		dir := fastDir(t)
		run := func(ops *maildir.Ops) error { return ops.MakeTree(filepath.Join(dir, "Maildir"), false) }
		return crashAfter(t, dir, run, func(dir string) error {
			f, err := maildir.OpenFolder(filepath.Join(dir, "Maildir"), nil)
			if err == nil {
				f.Close()
			}
			return err
		})
	},
	"to-dovecot": func(t *testing.T) []string {
		dir := changedBox(t)
		return crashAfter(t, dir, func(ops *maildir.Ops) error {
			a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops})
			if err != nil {
				return err
			}
			_, err = a.HandbackToDovecot(context.Background())
			return errors.Join(err, a.Close())
		}, handedFaults)
	},
	"deliver":         crashDelivery,
	"deliver-deleted": crashDeliveryDeleted,
	"first":           crashFirst,
	// Before any mailbox is opened, with which more would be synced.
	"annotate-server": func(t *testing.T) []string {
		dir := crashNothing(t)
		ctx := context.Background()
		run := func(ops *maildir.Ops) error {
			a, err := Open(ctx, Options{Maildir: dir, unwatched: true, ops: ops})
			if err != nil {
				return err
			}
			t.Cleanup(func() { a.Close() })
			return a.SetMetadata(ctx, "", []Annotation{{Entry: "/comment", Value: []byte("kept"), Size: 4}})
		}
		return crashAfter(t, dir, run, func(dir string) error {
			a, err := Open(ctx, Options{Maildir: dir, unwatched: true})
			if err != nil {
				return err
			}
			defer a.Close()
			if list, err := a.Metadata(ctx, "", "", "/comment", 0, 1000); err != nil || len(list) != 1 {
				return fmt.Errorf("annotations %v, %v", list, err)
			}
			return nil
		})
	},
}

// crashAfter runs something and cuts the power right after.
func crashAfter(t *testing.T, dir string, run func(*maildir.Ops) error, check func(dir string) error) (faults []string) {
	t.Helper()
	c := newCrashFS(t, dir)
	c.moment(maildir.Op{Call: "the first"})
	w := &sqliteWatch{root: dir, after: c.sqlite}
	watchSQLite(t, w)
	if err := run(&maildir.Ops{Trace: c.trace}); err != nil {
		t.Fatal(err)
	}
	c.ack()
	unwatchSQLite(w)
	c.hush(true)
	for _, m := range crashModels[:3] {
		at := filepath.Join(fastDir(t), "Maildir")
		writeDisk(t, at, c.disk(c.cuts[len(c.cuts)-1], m, nil))
		if err := check(at); err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", m.name, err))
		}
	}
	return faults
}

func TestCrashOwn(t *testing.T) {
	for name, run := range crashOwn {
		for _, f := range run(t) {
			t.Errorf("%s: %s", name, f)
		}
	}
}

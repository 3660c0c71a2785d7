package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mailstead/imapserver/bench"
)

// folder is a folder that is generated. The names of the first user's tell how
// many messages there are.
type folder struct {
	user, dir string // dir "." is INBOX
	messages  int
}

// statusFolders is how many folders are asked for by STATUS.
const statusFolders = 100

func folders() []folder {
	list := []folder{
		{user(1), ".", 100}, {user(1), ".m50k", 50_000}, {user(1), ".m25k", 25_000}, {user(1), ".m10k", 10_000}, {user(1), ".m6814", 6814},
	}
	for n := range statusFolders {
		list = append(list, folder{user(1), fmt.Sprintf(".f%d", n), 20})
	}
	for n := 2; n <= users; n++ {
		list = append(list, folder{user(n), ".", 100})
	}
	return list
}

// benchDir is where the mail is kept.
func benchDir() string {
	if dir := os.Getenv("MAILSTEAD_BENCH_DIR"); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), "mailstead-bench")
}

// prepare gives a directory with a server's own copy of the mail, which it
// makes where there is none.
func prepare(t testing.TB, name string) string {
	t.Helper()
	original := filepath.Join(benchDir(), "original")
	made(t, original, func(dir string) {
		corpus := bench.NewCorpus(1)
		for _, f := range folders() {
			generate(t, corpus, filepath.Join(dir, f.user, "Maildir", f.dir), f.messages)
		}
		giveAway(t, dir)
	})
	dir := filepath.Join(benchDir(), name)
	made(t, dir, func(dir string) {
		if out, err := exec.Command("cp", "-a", original, filepath.Join(dir, "homes")).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
		if err := os.Chown(dir, mailUID, mailUID); err != nil {
			t.Fatal(err)
		}
	})
	return dir
}

// made has dir be what fn makes in it: half a directory is made anew.
func made(t testing.TB, dir string, fn func(dir string)) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	fn(half)
	if err := os.Rename(half, dir); err != nil {
		t.Fatal(err)
	}
}

// generate fills a folder with messages in cur.
func generate(t testing.TB, corpus *bench.Corpus, dir string, n int) {
	t.Helper()
	makeFolder(t, dir)
	for i := range n {
		text := corpus.Message(i)
		name := fmt.Sprintf("%d.M%06dP4000.bench,S=%d%s", corpus.Date(i).Unix(), i, len(text), corpus.Flags(i))
		path := filepath.Join(dir, "cur", name)
		err := os.WriteFile(path, text, 0o600)
		if err == nil {
			err = os.Chtimes(path, corpus.Date(i), corpus.Date(i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// makeFolder makes an empty folder, and the directories above it.
func makeFolder(t testing.TB, dir string) {
	t.Helper()
	for _, d := range []string{"", "cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if filepath.Base(dir)[0] == '.' {
		if err := os.WriteFile(filepath.Join(dir, "maildirfolder"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// giveAway gives a tree to the user that has all mail.
func giveAway(t testing.TB, dir string) {
	t.Helper()
	if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%[1]d", mailUID), dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
}

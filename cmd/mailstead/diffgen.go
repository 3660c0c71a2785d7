package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"mailstead/reconcile/target"
)

func newDiffCommand() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "diff N M",
		Short: "show what differs between two generations",
		Long: `Shows what differs between two generations that "history" lists, as unified
diffs: the description as it was understood, with its defaults, and every file
that was rendered. A password hash is shown by a digest under a key of the host.` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			key := target.NewPlanKey()
			if keys := target.PlanKeys(state); len(keys) > 0 {
				key = keys[0]
			}
			var texts [2]map[string]string
			for i, arg := range args {
				n, err := strconv.Atoi(arg)
				if err != nil {
					return hint(fmt.Errorf("%q is no number of a generation", arg), "%q lists those that there are", "mailstead history")
				}
				if texts[i], err = generationsOf(state).texts(n, key); err != nil {
					return err
				}
			}
			writeTexts(newConsole(cmd), args, texts)
			return nil
		},
	}
	addState(cmd, &state)
	return cmd
}

// texts gives everything of a generation that can be shown, by path.
func (g generations) texts(n int, key []byte) (map[string]string, error) {
	if _, err := g.read(n); err != nil {
		return nil, err
	}
	was, err := g.readHost(n)
	if err != nil {
		return nil, err
	}
	was.Host = withoutOrigins(was.Host)
	for name, hash := range was.Hashes {
		was.Hashes[name] = keyedHash(key, hash)
	}
	description, err := json.MarshalIndent(was, "", "  ")
	if err != nil {
		return nil, err
	}
	out := map[string]string{"description": string(description) + "\n"}
	root := g.path(n, renderedDir)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, root)] = string(maskHashes(key, data))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read generation %d: %w", n, err)
	}
	return out, nil
}

// hashField is a hash in the list of users, which is JSON.
var hashField = regexp.MustCompile(`"hash":"[^"]*"`)

func maskHashes(key, data []byte) []byte {
	return hashField.ReplaceAllFunc(data, func(field []byte) []byte {
		_, hash, _ := bytes.Cut(field, []byte(":"))
		return fmt.Appendf(nil, `"hash":"%s"`, keyedHash(key, strings.Trim(string(hash), `"`)))
	})
}

// keyedHash stands for a password hash: equal for equal ones, on this host.
func keyedHash(key []byte, hash string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(hash))
	return "(secret " + hex.EncodeToString(m.Sum(nil)[:6]) + ")"
}

func writeTexts(c *console, names []string, texts [2]map[string]string) {
	paths := slices.Collect(maps.Keys(texts[0]))
	for path := range texts[1] {
		if _, ok := texts[0][path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		from, to := names[0]+":"+path, names[1]+":"+path
		text := diff.Diff(from, []byte(texts[0][path]), to, []byte(texts[1][path]))
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if !strings.HasPrefix(line, "diff ") {
				fmt.Fprintln(c.out, c.paint(diffPaint(line), visible(strings.ReplaceAll(line, "\t", tab))))
			}
		}
	}
}

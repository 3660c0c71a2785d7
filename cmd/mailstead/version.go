package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "say which version this is",
		Long: `Prints the version, the commit it was built from, and the Go release and
platform it was built with.` + exitStatus(exitDone),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sayVersion(cmd) },
	}
}

func sayVersion(cmd *cobra.Command) error {
	info, _ := debug.ReadBuildInfo()
	return runVersion(cmd.OutOrStdout(), info)
}

func runVersion(w io.Writer, info *debug.BuildInfo) error {
	_, err := fmt.Fprintf(w, "mailstead %s, %s %s/%s\n", version(info), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// release is the version that the Debian package was built as, which its build sets.
// It is no part of the daemon: one of the same octets need not be started anew.
var release string

// ownVersion is that of this program.
func ownVersion() string {
	info, _ := debug.ReadBuildInfo()
	return version(info)
}

// version names the release, or the commit where it was built from a checkout.
func version(info *debug.BuildInfo) string {
	if release != "" {
		return release
	}
	if info == nil {
		return "of unknown origin"
	}
	name, revision, modified := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) > 12:
			revision = " " + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	if name == "" {
		name = "(devel)"
	}
	return name + revision + modified
}

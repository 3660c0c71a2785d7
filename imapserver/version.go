package imapserver

import "runtime/debug"

// release is the version that the Debian package was built as, which its build sets.
var release string

// Version is the version of the package or of the module that the program was built
// from, with the commit where the build knows it.
func Version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	if version != "" && version != "(devel)" {
		return version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

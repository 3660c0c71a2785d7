//go:build debian

package schema

// programs is where the Debian package puts the programs. /usr/local is not a
// package's to write to (Debian Policy §9.1.2).
const programs = "/usr/bin"

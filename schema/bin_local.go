//go:build !debian

package schema

// programs is where the programs are, unless a description says otherwise:
// those that an admin has built (FHS 3.0 §4.9).
const programs = "/usr/local/bin"

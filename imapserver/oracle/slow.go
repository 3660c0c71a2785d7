//go:build !race

package oracle

// slow is how many times slower this build is than that of a release.
const slow = 1

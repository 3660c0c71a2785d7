//go:build race

package oracle

// slow is how many times slower this build is than that of a release: the race
// detector looks at each access to memory.
const slow = 20

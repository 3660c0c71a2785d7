//go:build !amd64

package main

// foreignPID is for kernels that take the calls of another architecture.
func foreignPID() int { return -1 }

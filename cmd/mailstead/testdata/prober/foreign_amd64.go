package main

// foreignPID asks for the process's id by int 0x80.
func foreignPID() int

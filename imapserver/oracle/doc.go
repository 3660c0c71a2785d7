// Package oracle says what holds of every answer, whatever the input was (tests
// only): what it may cost, and that it is IMAP. Tests and fuzz targets of any
// package ask it, so it imports nothing of the project; above all it shares no
// line with what writes the responses.
package oracle

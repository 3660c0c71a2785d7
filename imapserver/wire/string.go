package wire

// AppendString adds s as an IMAP string: quoted where that is possible, else a
// literal. NUL octets are left out (RFC 9051 §4.3).
func AppendString(dst []byte, s string) []byte { panic("todo") }

// AppendNString adds NIL for the nil slice, else the string.
func AppendNString(dst []byte, s *string) []byte { panic("todo") }

package wire

// decoder reads the tokens of one command.
type decoder struct{ r *Reader }

package schema

// Starter gives the text of a commented starting description for a host. It
// loads. The error says why the host cannot have that name.
func Starter(host string) ([]byte, error) {
	return nil, nil
}

package config

// Staged is what the daemon would read, before any of it is where it would read
// it from: what `mailstead-imapd check --staged` takes, as JSON.
type Staged struct {
	Config []byte            `json:"config"`
	Users  []byte            `json:"users"`
	PEM    map[string][]byte `json:"pem"` // by name of the bundle: all of them
}

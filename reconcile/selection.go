package reconcile

// Selection says which part of a plan is meant, by patterns of references.
type Selection struct {
	Only   []string `json:"only,omitempty"`
	Except []string `json:"except,omitempty"`
	Take   []string `json:"take,omitempty"` // may be replaced although somebody else wrote it
}

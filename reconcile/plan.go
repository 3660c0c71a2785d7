// Package reconcile compares what a description asks for with what is there,
// says the difference as a Plan, and applies it change by change.
package reconcile

// Ref names a resource: its kind and its name, such as "file//etc/pam.d/x".
type Ref struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// String gives kind/name.
func (r Ref) String() string { return r.Kind + "/" + r.Name }

// Impact is what a change means to the people connected.
type Impact string

// The impact words, from the lightest to the gravest.
const (
	Live    Impact = "live"    // takes effect at once, nobody notices
	Reload  Impact = "reload"  // the daemon reloads, no connection is lost
	Rebind  Impact = "rebind"  // a listener moves: its connections end
	Restart Impact = "restart" // every connection ends
	Data    Impact = "data"    // mail is concerned
)

// Attr is one attribute of a resource. Secret values are never shown and stand
// in a plan only as a keyed digest.
type Attr struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"`
	Impact Impact `json:"impact,omitempty"`
}

// Resource is one thing on a host, wanted or found: a plain value that can be
// compared, printed and sent. The attribute "content" is a file's text.
type Resource struct {
	Ref    Ref    `json:"ref"`
	Origin string `json:"origin,omitempty"` // file:line:col of what asked for it; "default"
	Attrs  []Attr `json:"attrs"`            // in the order in which the kind shows them
}

// Op is what a change does.
type Op string

// The operations.
const (
	Create Op = "create" // +
	Update Op = "update" // ~
	Delete Op = "delete" // -
	Action Op = "action" // ! nothing on disk differs, but what runs does
)

// Change is one step of a plan.
type Change struct {
	Ref    Ref       `json:"ref"`
	Op     Op        `json:"op"`
	Have   *Resource `json:"have,omitempty"`
	Want   *Resource `json:"want,omitempty"`
	Origin string    `json:"origin"`
	Reason string    `json:"reason"`
	Impact Impact    `json:"impact"`
}

package reconcile

// Op is what a change does.
type Op string

// The operations.
const (
	Create Op = "create" // +
	Update Op = "update" // ~
	Delete Op = "delete" // -
	Action Op = "action" // ! nothing on disk differs, but what runs does
)

// UnmarshalText takes the words alone.
func (o *Op) UnmarshalText(text []byte) error {
	return oneOf(o, Op(text), "operation", Create, Update, Delete, Action)
}

// Change is one step of a plan.
type Change struct {
	Ref    Ref        `json:"ref"`
	Op     Op         `json:"op"`
	Have   *Resource  `json:"have,omitempty"` // nil: it does not exist
	Want   *Resource  `json:"want,omitempty"` // nil: it goes
	Was    []Resource `json:"-"`              // what the inventory has of it: applied last, or begun and interrupted; contents as digests
	Kin    *Kin       `json:"-"`              // what else there is of its kind, if the kind hands on
	Origin string     `json:"origin"`
	Reason string     `json:"reason"`
	Impact Impact     `json:"impact"`
	Drift  *Drift     `json:"drift,omitempty"` // somebody else has changed it since it was applied
	Taken  bool       `json:"taken,omitempty"` // the operator said that it may replace what somebody else wrote
	Saw    string     `json:"saw,omitempty"`   // in a masked plan: keyed digest of Have
	Wants  string     `json:"wants,omitempty"` // in a masked plan: keyed digest of Want
	Stale  string     `json:"-"`               // of a saved plan: what has happened to the resource since; Apply refuses the change
}

// target is what to look for.
func (c Change) target() Resource {
	if c.Want != nil {
		return *c.Want
	}
	return *c.Have
}

// ask is the question for what there is of it.
func (c Change) ask() Ask { return Ask{Resource: c.target(), Was: c.Was, Kin: c.Kin} }

// Plan is every change that makes a host what its description asks for, in the
// order in which Apply makes them.
type Plan struct {
	Host       string         `json:"host"`
	Changes    []Change       `json:"changes"`
	Unchanged  map[string]int `json:"unchanged"`            // by kind
	Blocked    []Waiting      `json:"blocked,omitempty"`    // cannot be applied yet
	Unreadable []Unread       `json:"unreadable,omitempty"` // could not be compared
	Notes      []string       `json:"notes,omitempty"`      // sentences for the reader: what is kept, what is remembered
	Record     []Resource     `json:"record,omitempty"`     // in place, but the inventory does not say so yet
	Forget     []Ref          `json:"forget,omitempty"`     // leave the inventory and stay on the host
	LeftOut    []Aside        `json:"left_out,omitempty"`   // not selected
	Deferred   []Aside        `json:"deferred,omitempty"`   // selected, but something that it needs is not
	People     *People        `json:"people,omitempty"`     // what it means to them; nil where nothing changes

	Inventory string `json:"-"` // digest of the one that it was made with, or that its Apply has left; "" if that is not known
}

// Waiting is a resource that waits for something outside the plan.
type Waiting struct {
	Ref     Ref    `json:"ref"`
	Origin  string `json:"origin"`
	Reason  string `json:"reason"`
	Command string `json:"command,omitempty"` // what the operator runs to end the wait
	// Attrs are the attributes that wait, where the rest of the resource does not.
	Attrs []string `json:"attrs,omitempty"`
}

// Unread is a resource whose state could not be read.
type Unread struct {
	Ref    Ref    `json:"ref"`
	Origin string `json:"origin"`
	Reason string `json:"reason"`
}

// Empty tells that Apply would have nothing to do, not even to the inventory.
// What waits and what could not be read is not counted.
func (p *Plan) Empty() bool {
	return len(p.Changes) == 0 && len(p.Record) == 0 && len(p.Forget) == 0
}

// Behind tells whether another apply has been at work on a host since the plan
// was made, as far as that is known. The lock of the state directory is held.
func (p *Plan) Behind(state string) (bool, error) {
	inv, err := ReadInventory(state)
	if err != nil {
		return false, err
	}
	return p.behind(inv), nil
}

func (p *Plan) behind(inv *Inventory) bool {
	return p.Inventory != "" && p.Inventory != inv.digest()
}

package control

import "time"

// Connection is a connection that is logged in.
type Connection struct {
	ID       string    `json:"id"` // as the log has it
	User     string    `json:"user"`
	Listener string    `json:"listener,omitempty"` // "": it came over the control socket
	Address  string    `json:"address,omitempty"`  // of the client
	TLS      string    `json:"tls,omitempty"`      // version; "": none
	Client   string    `json:"client,omitempty"`   // name and version, as the client has said
	Began    time.Time `json:"began"`              // when it logged in

	Doing *Activity `json:"doing,omitempty"` // if that was asked for and the session said it in time
}

// Removal is a line of the record of removals: a message that has left a mailbox, or
// with no UID a mailbox that is gone or was renamed.
type Removal struct {
	At         time.Time `json:"at"`
	User       string    `json:"user"` // whose mailbox it was
	Mailbox    string    `json:"mailbox"`
	UID        uint32    `json:"uid,omitempty"`
	MessageID  string    `json:"message_id,omitempty"`
	Command    string    `json:"command,omitempty"` // "": another program has removed the file
	To         string    `json:"to,omitempty"`      // where it was moved
	ToUID      uint32    `json:"to_uid,omitempty"`
	ToValidity uint32    `json:"to_uidvalidity,omitempty"`
	By         string    `json:"by,omitempty"`       // whose session it was
	Session    string    `json:"session,omitempty"`  // as the log has it
	Listener   string    `json:"listener,omitempty"` // "": it came over the control socket
	Address    string    `json:"address,omitempty"`
	Client     string    `json:"client,omitempty"` // name and version, as the client has said
}

// Activity is what a session does at a moment.
type Activity struct {
	State    string    `json:"state"`             // authenticated or selected
	Mailbox  string    `json:"mailbox,omitempty"` // that is selected
	ReadOnly bool      `json:"read_only,omitempty"`
	Command  string    `json:"command,omitempty"` // in progress; "": it waits for the next
	Since    time.Time `json:"since"`             // when the command began, or the last one ended
	Waits    string    `json:"waits,omitempty"`   // what for; "": it works
	Where    string    `json:"where,omitempty"`   // the function that waits or works
	Client   string    `json:"client,omitempty"`  // name and version, as the client has said since
	Commands int       `json:"commands"`          // so far
	In       int64     `json:"in"`                // octets from the client, without TLS
	Out      int64     `json:"out"`               // octets to the client, without TLS
	Enabled  []string  `json:"enabled,omitempty"` // extensions that the client has enabled
}

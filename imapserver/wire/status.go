package wire

// StatusItem is one thing that STATUS asks for.
type StatusItem string

// The items.
const (
	StatusMessages    StatusItem = "MESSAGES"
	StatusRecent      StatusItem = "RECENT"
	StatusUIDNext     StatusItem = "UIDNEXT"
	StatusUIDValidity StatusItem = "UIDVALIDITY"
	StatusUnseen      StatusItem = "UNSEEN"
	StatusDeleted     StatusItem = "DELETED"
	StatusSize        StatusItem = "SIZE"
)

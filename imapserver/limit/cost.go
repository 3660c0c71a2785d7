package limit

// What a session costs, as measured (DESIGN.md, "Load, measured", and 1,500 sessions
// of 300 users under TLS on small mailboxes), rounded up. The table promises sessions,
// and no host has room for all that it may be set to.
const (
	LoginDescriptors   = 2        // of a session, in the process that has its listener
	LoginMemory        = 32 << 10 // octets, with TLS: 27 to 31 KiB
	WaitingDescriptors = 1        // of a connection that is not logged in
	WaitingMemory      = 32 << 10
	WorkerDescriptors  = 1 // of a session, in the process that has its mail
	WorkerMemory       = 18 << 10
	AccountDescriptors = 9         // of each user who has a session, there: the index and the selected mailbox
	AccountMemory      = 320 << 10 // with a mailbox selected
	WorkerProcess      = 4500 << 10
	ProcessDescriptors = 32 // of a process that has nothing to do
)

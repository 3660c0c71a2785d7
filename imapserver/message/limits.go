package message

// What one message may make the reader hold or write. Whatever lies beyond a
// limit is still served as octets, by Section; it is only not taken apart.
const (
	maxDepth     = 100      // entities inside each other; deeper ones are application/octet-stream
	maxParts     = 10_000   // entities of a message; the last one holds all that follows it
	MaxHeader    = 10 << 20 // octets of one header in which fields are looked for
	maxHeaders   = 50 << 20 // octets of all headers together
	maxParams    = 128      // parameters of one field, RFC 2231 pieces counted one by one
	maxLanguages = 128      // tags of one Content-Language
	maxBoundary  = 1000     // octets; RFC 2046 allows 70, mailers exceed it
	maxAddresses = 50_000   // addresses in one answer, embedded messages included
	maxName      = 64 << 10 // octets of a name, mailbox or host of an address
	maxRepeats   = 100      // fields of one name whose addresses are joined
	maxDate      = 1000     // octets of a Date field
	maxCharset   = 64       // octets of a charset's name
	maxSortText  = 1024     // octets of a subject, mailbox or name that an Overview keeps
	maxRefs      = 256      // ancestors that an Overview keeps
)

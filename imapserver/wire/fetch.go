package wire

import "github.com/emersion/go-imap/v2"

// FetchKind names what a fetch item asks for.
type FetchKind string

// The kinds. RFC822, RFC822.HEADER and RFC822.TEXT are FetchSection with names
// of their own.
const (
	FetchUID           FetchKind = "UID"
	FetchFlags         FetchKind = "FLAGS"
	FetchInternalDate  FetchKind = "INTERNALDATE"
	FetchSize          FetchKind = "RFC822.SIZE"
	FetchEnvelope      FetchKind = "ENVELOPE"
	FetchBody          FetchKind = "BODY"
	FetchBodyStructure FetchKind = "BODYSTRUCTURE"
	FetchSection       FetchKind = "BODY[]"
)

// FetchItem is one thing that FETCH asks for.
type FetchItem struct {
	Kind    FetchKind
	Name    string                     // how the response names it: "FLAGS", "BODY[TEXT]<0>"
	Section *imap.FetchItemBodySection // FetchSection
}

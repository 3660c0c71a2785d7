package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sort"

	"github.com/emersion/go-imap/v2"
)

// Part is a piece of a message that is cached in the form in which it is used.
type Part uint8

// The parts.
const (
	PartEnvelope      Part = iota // ENVELOPE as on the wire
	PartBody                      // BODY as on the wire
	PartBodyStructure             // BODYSTRUCTURE as on the wire
	PartFields                    // message.KeptFields of the header, with the empty line after it
	PartOverview                  // message.Overview, encoded
	PartCount                     // how many there are
)

// A cache file is a sequence of blocks, each of some messages in the order of
// their UIDs. Numbers are big-endian:
//
//	4  blockMagic
//	4  UIDVALIDITY
//	4  number of messages
//	8  lowest and highest UID
//	24 length of the identities and of each part
//	24 CRC-32C of the same
//	4  CRC-32C of all above
//
// The identities are 4 octets of UID and 8 of baseHash for each message. A part
// is, for each message, 4 octets that say where its text ends, counted from
// where the texts begin, with the highest bit set where there is none; and the
// texts. Whatever has another sum is not used, and made anew; so is what package message
// read differently: blockMagic has another letter for each way.
const (
	blockMagic   = 0x4d734363 // "MsCc"
	sectionCount = 1 + int(PartCount)
	blockHead    = 20 + 8*sectionCount + 4
	identityLen  = 12
	absent       = 1 << 31
)

// The most that a block holds: enough that reading all of them in their order
// takes few calls, and little for one message alone.
const (
	blockMessages = 256
	blockOctets   = 1 << 20
	maxPart       = 64 << 10 // octets of a part; a longer one is not cached
)

// errBlock says that a block is not what was written.
var errBlock = errors.New("cache is damaged")

// baseHash tells messages of one UID apart, should UIDs have been given out anew.
// It is FNV-1a, which takes a string as it is.
func baseHash(base string) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(base) {
		hash = (hash ^ uint64(base[i])) * 1099511628211
	}
	return hash
}

// block is where a block is and what its header says.
type block struct {
	at          int64
	validity    uint32
	count       int
	first, last imap.UID
	size, sum   [sectionCount]uint32
}

// offset is where a section begins.
func (b *block) offset(section int) int64 {
	at := b.at + int64(blockHead)
	for _, n := range b.size[:section] {
		at += int64(n)
	}
	return at
}

func (b *block) end() int64 { return b.offset(sectionCount) }

// parseHead reads the header of a block.
func parseHead(head []byte, at int64) (*block, error) {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(head[4*i:]) }
	if len(head) != blockHead || word(0) != blockMagic || crc32.Checksum(head[:blockHead-4], castagnoli) != word(blockHead/4-1) {
		return nil, errBlock
	}
	b := &block{at: at, validity: word(1), count: int(word(2)), first: imap.UID(word(3)), last: imap.UID(word(4))}
	for i := range sectionCount {
		b.size[i], b.sum[i] = word(5+i), word(5+sectionCount+i)
		if b.size[i] > 4*blockOctets {
			return nil, errBlock
		}
	}
	if b.count == 0 || b.count > blockMessages || b.first > b.last || b.size[0] != uint32(b.count)*identityLen {
		return nil, errBlock
	}
	return b, nil
}

// section reads a section into buf, which it may replace.
func (b *block) section(r io.ReaderAt, n int, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(b.size[n]))[:b.size[n]]
	if _, err := r.ReadAt(buf, b.offset(n)); err != nil {
		return buf, err
	}
	if crc32.Checksum(buf, castagnoli) != b.sum[n] || n > 0 && len(buf) < 4*b.count {
		return buf, errBlock
	}
	return buf, nil
}

// find gives the place of a message in identities; last is where the one before
// was found, which is often next to it.
func (b *block) find(identities []byte, uid imap.UID, hash uint64, last int) (int, bool) {
	at := func(i int) imap.UID { return imap.UID(binary.BigEndian.Uint32(identities[i*identityLen:])) }
	i := min(last+1, b.count-1)
	switch {
	case at(last) == uid:
		i = last
	case at(i) != uid:
		i = sort.Search(b.count, func(i int) bool { return at(i) >= uid })
	}
	return i, i < b.count && at(i) == uid && binary.BigEndian.Uint64(identities[i*identityLen+4:]) == hash
}

// text gives message i's in a part.
func (b *block) text(part []byte, i int) ([]byte, bool) {
	start := uint32(0)
	if i > 0 {
		start = binary.BigEndian.Uint32(part[4*i-4:]) &^ absent
	}
	end := binary.BigEndian.Uint32(part[4*i:])
	texts := part[4*b.count:]
	if end&absent != 0 || start > end || int(end) > len(texts) {
		return nil, false
	}
	return texts[start:end:end], true
}

// blockWriter gathers messages for a block, in the order of their UIDs.
type blockWriter struct {
	identities []byte
	ends       [PartCount][]byte
	texts      [PartCount][]byte
	count      int
	first      imap.UID
	last       imap.UID
}

// add takes a message's parts: part appends one, or says that there is none.
func (w *blockWriter) add(uid imap.UID, hash uint64, part func(p Part, dst []byte) ([]byte, bool)) {
	if w.count == 0 {
		w.first = uid
	}
	w.last = uid
	w.count++
	w.identities = binary.BigEndian.AppendUint32(w.identities, uint32(uid))
	w.identities = binary.BigEndian.AppendUint64(w.identities, hash)
	for p := range PartCount {
		// What a hostile message has made of it is let go of, and its room with it.
		texts, ok := part(p, w.texts[p])
		if ok = ok && len(texts)-len(w.texts[p]) <= maxPart; ok {
			w.texts[p] = texts
		}
		end := uint32(len(w.texts[p]))
		if !ok {
			end |= absent
		}
		w.ends[p] = binary.BigEndian.AppendUint32(w.ends[p], end)
	}
}

// full says that the block should be written.
func (w *blockWriter) full() bool {
	n := 0
	for p := range PartCount {
		n += len(w.texts[p])
	}
	return w.count == blockMessages || n > blockOctets
}

func (w *blockWriter) reset() {
	w.count, w.identities = 0, w.identities[:0]
	for p := range PartCount {
		w.ends[p], w.texts[p] = w.ends[p][:0], w.texts[p][:0]
	}
}

// encode gives the block as it is written.
func (w *blockWriter) encode(validity uint32) []byte {
	out := make([]byte, blockHead, blockHead+len(w.identities)+blockOctets/4)
	put := func(i int, n uint32) { binary.BigEndian.PutUint32(out[4*i:], n) }
	section := func(n int, pieces ...[]byte) {
		start := len(out)
		for _, p := range pieces {
			out = append(out, p...)
		}
		put(5+n, uint32(len(out)-start))
		put(5+sectionCount+n, crc32.Checksum(out[start:], castagnoli))
	}
	put(0, blockMagic)
	put(1, validity)
	put(2, uint32(w.count))
	put(3, uint32(w.first))
	put(4, uint32(w.last))
	section(0, w.identities)
	for p := range PartCount {
		section(1+int(p), w.ends[p], w.texts[p])
	}
	put(blockHead/4-1, crc32.Checksum(out[:blockHead-4], castagnoli))
	return out
}

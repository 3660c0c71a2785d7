package wire

import (
	"math"
	"strconv"
)

// maxDigits is the length of the largest number of 64 bits.
const maxDigits = 20

// digits takes decimal digits, at most one more than a number may have.
func (d *decoder) digits() string {
	var buf [maxDigits + 1]byte
	b := buf[:0]
	for len(b) < cap(b) {
		c, ok := d.peek()
		if !ok || c < '0' || c > '9' {
			break
		}
		d.skip()
		b = append(b, c)
	}
	return string(b)
}

// expectNumber reads a number of at most limit.
func (d *decoder) expectNumber(limit uint64) uint64 {
	s := d.digits()
	if s == "" {
		d.fail("number expected")
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > limit {
		d.fail("number too large")
		return 0
	}
	return n
}

// expectNonZero reads an nz-number of at most limit.
func (d *decoder) expectNonZero(limit uint64) uint64 {
	if c, _ := d.peek(); c == '0' {
		d.fail("number above zero expected")
		return 0
	}
	return d.expectNumber(limit)
}

func (d *decoder) expectNumber63() int64 { return int64(d.expectNumber(math.MaxInt64)) }

func (d *decoder) expectNonZero32() uint32 { return uint32(d.expectNonZero(math.MaxUint32)) }

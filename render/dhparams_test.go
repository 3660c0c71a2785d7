package render

import (
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
)

// The groups are what RFC 7919 §A says: p = 2^b - 2^(b-64) + (floor(2^(b-130) e) + X) 2^64 - 1
// with the least X for which p and (p-1)/2 are prime, and the generator 2.
func TestDHParams(t *testing.T) {
	for _, row := range []struct {
		group string
		bits  uint
		x     int64
	}{
		{"ffdhe2048", 2048, 560316},  // §A.1
		{"ffdhe3072", 3072, 2625351}, // §A.2
		{"ffdhe4096", 4096, 5736041}, // §A.3
	} {
		t.Run(row.group, func(t *testing.T) {
			t.Parallel()
			text, err := DHParams(row.group)
			if err != nil {
				t.Fatal(err)
			}
			block, rest := pem.Decode(text)
			if block == nil || block.Type != "DH PARAMETERS" || len(rest) > 0 {
				t.Fatalf("not one block: %q", text)
			}
			var have struct{ P, G *big.Int }
			if rest, err := asn1.Unmarshal(block.Bytes, &have); err != nil || len(rest) > 0 {
				t.Fatalf("PKCS #3: %v", err)
			}
			if have.G.Cmp(big.NewInt(2)) != 0 {
				t.Errorf("the generator is %v", have.G)
			}
			if want := ffdhe(row.bits, row.x); have.P.Cmp(want) != 0 {
				t.Errorf("p is %X, want %X", have.P, want)
			}
			if !have.P.ProbablyPrime(1) || !new(big.Int).Rsh(have.P, 1).ProbablyPrime(1) {
				t.Error("p is no safe prime")
			}
		})
	}
	if data, err := DHParams("modp1024"); err == nil {
		t.Errorf("%s", data)
	}
}

// ffdhe is the prime of RFC 7919's formula. e is the sum of 1/n!, here with 64
// bits more than are needed.
func ffdhe(bits uint, x int64) *big.Int {
	const guard = 64
	e, term := new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits-130+guard)
	for n := int64(1); term.Sign() > 0; n++ {
		e.Add(e, term)
		term.Quo(term, big.NewInt(n))
	}
	e.Rsh(e, guard)
	p := new(big.Int).Lsh(big.NewInt(1), bits)
	p.Sub(p, new(big.Int).Lsh(big.NewInt(1), bits-64))
	p.Add(p, e.Add(e, big.NewInt(x)).Lsh(e, 64))
	return p.Sub(p, big.NewInt(1))
}

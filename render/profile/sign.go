package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/smallstep/pkcs7"
)

// Sign wraps a profile into a signed CMS message (RFC 5652), DER, by which a device
// shows whose it is. The chain begins with the certificate of the key; what goes to
// devices is that and what leads to a root, in order.
func Sign(profile []byte, chain []*x509.Certificate, key crypto.Signer) ([]byte, error) {
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
	default:
		return nil, fmt.Errorf("sign profile: the key is %T, and devices want RSA or ECDSA", key)
	}
	if len(chain) == 0 {
		return nil, errors.New("sign profile: there is no certificate")
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return nil, errors.New("sign profile: the key is not that of the first certificate")
	}
	data, err := pkcs7.NewSignedData(profile)
	if err != nil {
		return nil, fmt.Errorf("sign profile: %w", err)
	}
	data.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := data.AddSignerChain(chain[0], key, chain[1:], pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("sign profile: %w", err)
	}
	signed, err := data.Finish()
	if err != nil {
		return nil, fmt.Errorf("sign profile: %w", err)
	}
	return signed, nil
}

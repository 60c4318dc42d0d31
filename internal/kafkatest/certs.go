package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certs are the PEM files that a client of the secure listeners needs. The
// server's certificate is for 127.0.0.1 and localhost.
type Certs struct {
	CA         string
	ClientCert string
	ClientKey  string
	// OtherCert and OtherKey are of a CA that the broker does not trust.
	OtherCA, OtherCert, OtherKey string

	serverKeystore string
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// writeCerts makes an authority with a server and a client certificate, and a
// second authority with a client certificate of its own.
func writeCerts(dir string) (Certs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Certs{}, err
	}
	ca, err := newAuthority("streamctl test CA")
	if err != nil {
		return Certs{}, err
	}
	other, err := newAuthority("other CA")
	if err != nil {
		return Certs{}, err
	}
	serverCert, serverKey, err := ca.issue("localhost")
	if err != nil {
		return Certs{}, err
	}
	clientCert, clientKey, err := ca.issue("client")
	if err != nil {
		return Certs{}, err
	}
	otherCert, otherKey, err := other.issue("client")
	if err != nil {
		return Certs{}, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	c := Certs{
		CA: at("ca.pem"), ClientCert: at("client.pem"), ClientKey: at("client.key"),
		OtherCA: at("other-ca.pem"), OtherCert: at("other.pem"), OtherKey: at("other.key"),
		serverKeystore: at("server.pem"),
	}
	for name, data := range map[string][]byte{
		c.CA: ca.pem, c.ClientCert: clientCert, c.ClientKey: clientKey,
		c.OtherCA: other.pem, c.OtherCert: otherCert, c.OtherKey: otherKey,
		c.serverKeystore: append(append(serverKey, serverCert...), ca.pem...),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return Certs{}, err
		}
	}
	return c, nil
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := template(name)
	tmpl.IsCA = true
	tmpl.BasicConstraintsValid = true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, pem: certPEM(der)}, nil
}

// issue returns a certificate for name and loopback, and its key, as PEM.
func (a *authority) issue(name string) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tmpl := template(name)
	tmpl.DNSNames = []string{name}
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
	}
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

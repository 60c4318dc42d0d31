package kafka

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// config builds the TLS configuration: version 1.2 at least.
func (t TLSSettings) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // asked for by name, and warned about
	}
	ca, err := textOrFile(t.CA, t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("kafka tls: read authorities: %w", err)
	}
	if ca != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("kafka tls: read authorities: no PEM certificate in it")
		}
	}
	cert, err := textOrFile(t.Cert, t.CertFile)
	if err != nil {
		return nil, fmt.Errorf("kafka tls: read client certificate: %w", err)
	}
	key, err := textOrFile(string(t.Key), t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("kafka tls: read client key: %w", err)
	}
	if cert != nil && key != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("kafka tls: read client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func textOrFile(text, file string) ([]byte, error) {
	if text != "" {
		return []byte(text), nil
	}
	if file == "" {
		return nil, nil
	}
	return os.ReadFile(file)
}

// apply sets the mechanism in a sarama configuration.
func (s SASLSettings) apply(c *sarama.Config) {
	if s.Mechanism == "" {
		return
	}
	c.Net.SASL.Enable = true
	c.Net.SASL.Handshake = true
	c.Net.SASL.Version = sarama.SASLHandshakeV1
	c.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	c.Net.SASL.User, c.Net.SASL.Password = s.User, string(s.Password)
	switch s.Mechanism {
	case MechanismSCRAM256:
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: sha256.New} }
	case MechanismSCRAM512:
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: sha512.New} }
	case MechanismOAuthBearer:
		c.Net.SASL.TokenProvider = tokenProvider{token: s.Token, file: s.TokenFile}
	}
}

// scramClient adapts one SCRAM conversation to what sarama drives.
type scramClient struct {
	hash         func() hash.Hash
	conversation *scram.ClientConversation
}

// Begin starts the conversation.
func (s *scramClient) Begin(user, password, authzID string) error {
	client, err := scram.HashGeneratorFcn(s.hash).NewClient(user, password, authzID)
	if err != nil {
		return fmt.Errorf("begin SCRAM: %w", err)
	}
	s.conversation = client.NewConversation()
	return nil
}

// Step answers the broker's challenge.
func (s *scramClient) Step(challenge string) (string, error) {
	return s.conversation.Step(challenge)
}

// Done says whether the conversation is over.
func (s *scramClient) Done() bool { return s.conversation.Done() }

// tokenProvider gives the token of OAUTHBEARER, from the file anew each time.
type tokenProvider struct {
	token Secret
	file  string
}

// Token implements sarama's interface.
func (p tokenProvider) Token() (*sarama.AccessToken, error) {
	if p.file == "" {
		return &sarama.AccessToken{Token: string(p.token)}, nil
	}
	data, err := os.ReadFile(p.file)
	if err != nil {
		return nil, fmt.Errorf("read token file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return nil, fmt.Errorf("read token file: %s is empty", p.file)
	}
	return &sarama.AccessToken{Token: token}, nil
}

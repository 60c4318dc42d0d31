package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"time"

	"github.com/IBM/sarama"
)

// Secret is a string that never prints: not by fmt, not in JSON, not in logs.
type Secret string

const hidden = "(hidden)"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// Format hides the secret from every verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(hidden)) }

// MarshalText hides the secret from JSON and text encodings.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Compression of what is produced. Everything is understood when fetched.
type Compression string

const (
	CompressionNone Compression = "none" // the default
	CompressionLZ4  Compression = "lz4"
	CompressionZSTD Compression = "zstd"
)

// TLSSettings say how connections are encrypted. A certificate can be given as
// a file or as PEM text; not both.
type TLSSettings struct {
	Enabled bool
	CAFile  string // default: the system's authorities
	CA      string
	// CertFile and KeyFile (or Cert and Key) are shown to brokers that ask for a
	// client certificate.
	CertFile string
	Cert     string
	KeyFile  string
	Key      Secret
	// ServerName is checked against the broker's certificate; default: the host
	// that is dialled.
	ServerName string
	// InsecureSkipVerify accepts any broker. It is logged as a warning at every start.
	InsecureSkipVerify bool
}

// SASL mechanisms.
const (
	MechanismPlain       = "PLAIN"
	MechanismSCRAM256    = "SCRAM-SHA-256"
	MechanismSCRAM512    = "SCRAM-SHA-512"
	MechanismOAuthBearer = "OAUTHBEARER"
)

// SASLSettings say how connections authenticate.
type SASLSettings struct {
	Mechanism string // one of the Mechanism constants; "" = no authentication
	User      string // PLAIN and SCRAM
	Password  Secret
	// Token is the bearer token of OAUTHBEARER; TokenFile is read anew for every
	// connection, so that somebody else can renew it.
	Token     Secret
	TokenFile string
}

// Settings of a connection to a Kafka cluster. Zero values mean the defaults
// named; Brokers must be given.
type Settings struct {
	Brokers  []string // host:port
	ClientID string   // default "streamctl"
	Group    string   // consumer group
	Instance string   // static name of this member in the group; "" = dynamic membership
	TLS      TLSSettings
	SASL     SASLSettings

	Compression Compression
	// Linger is how long a batch that is not full waits for more; default 5 ms.
	Linger time.Duration
	// BatchBytes bounds a produced batch before compression; default 1,000,000.
	BatchBytes int
	// RequestBytes bounds a produce request; default 8 MiB.
	RequestBytes int

	// FetchPartitionBytes is asked for per partition and fetch; default 1 MiB.
	FetchPartitionBytes int
	// FetchRequestBytes bounds an answer to a fetch; default 16 MiB.
	FetchRequestBytes int
	// FetchWait is how long the broker may hold a fetch that finds nothing; default 50 ms.
	FetchWait time.Duration
	// BufferPartitionBytes is how much of a partition may be fetched and not
	// released; default 2 MiB. BufferBytes is the same for a source as a whole;
	// default 16 MiB. A partition of which nothing is held is fetched in any case.
	BufferPartitionBytes int
	BufferBytes          int
	// MaxDecompressedBytes refuses a batch that grows beyond it; default 64 MiB.
	// MaxResponseBytes refuses an answer; default 100 MiB. It holds for the process.
	MaxDecompressedBytes int
	MaxResponseBytes     int

	// DialTimeout bounds the making of a connection; default 10 s.
	DialTimeout time.Duration
	// RequestTimeout bounds a request; default 30 s.
	RequestTimeout time.Duration
	// RetryTimeout is how long an operation is retried when the caller sets no
	// deadline of his own; default 2 min.
	RetryTimeout time.Duration
	// SessionTimeout: a member that was silent for so long loses its tasks; default 10 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for members to rejoin; default 60 s.
	RebalanceTimeout time.Duration
	// TransactionTimeout: the broker aborts a transaction that is open for longer. What a
	// process that is lost has left open holds back all readers for so long. Default
	// 10 s, or four times the commit interval where that is more.
	TransactionTimeout time.Duration
	// CommitInterval is how long a transaction is open in the normal course of things; 0 = not known.
	CommitInterval time.Duration

	Logger *slog.Logger // default: discard
	// Crash is called at the named steps of a commit; nil outside tests.
	Crash func(step string)
}

// withDefaults fills what was left out.
func (s Settings) withDefaults() Settings {
	if s.ClientID == "" {
		s.ClientID = "streamctl"
	}
	if s.Compression == "" {
		s.Compression = CompressionNone
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.Crash == nil {
		s.Crash = func(string) {}
	}
	for p, v := range map[*int]int{
		&s.BatchBytes: 1_000_000, &s.RequestBytes: 8 << 20,
		&s.FetchPartitionBytes: 1 << 20, &s.FetchRequestBytes: 16 << 20,
		&s.BufferPartitionBytes: 2 << 20, &s.BufferBytes: 16 << 20,
		&s.MaxDecompressedBytes: 64 << 20, &s.MaxResponseBytes: 100 << 20,
	} {
		if *p == 0 {
			*p = v
		}
	}
	for p, v := range map[*time.Duration]time.Duration{
		&s.Linger: 5 * time.Millisecond, &s.FetchWait: 50 * time.Millisecond,
		&s.DialTimeout: 10 * time.Second, &s.RequestTimeout: 30 * time.Second, &s.RetryTimeout: 2 * time.Minute,
		&s.SessionTimeout: 10 * time.Second, &s.RebalanceTimeout: time.Minute,
		&s.TransactionTimeout: max(10*time.Second, 4*s.CommitInterval),
	} {
		if *p == 0 {
			*p = v
		}
	}
	return s
}

// Validate lists every fault of the settings at once.
func (s Settings) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("kafka settings: "+format, args...))
	}
	if len(s.Brokers) == 0 {
		fault("no brokers")
	}
	for _, b := range s.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			fault("broker %q is not host:port", b)
		}
	}
	switch s.Compression {
	case "", CompressionNone, CompressionLZ4, CompressionZSTD:
	default:
		fault("compression %q is none of none, lz4, zstd", s.Compression)
	}
	if s.Instance != "" && !instanceName.MatchString(s.Instance) {
		fault("instance %q has other characters than letters, digits, '.', '_', '-', or more than 249", s.Instance)
	}
	for name, n := range map[string]int{
		"batch bytes": s.BatchBytes, "request bytes": s.RequestBytes, "fetch partition bytes": s.FetchPartitionBytes,
		"fetch request bytes": s.FetchRequestBytes, "buffer partition bytes": s.BufferPartitionBytes, "buffer bytes": s.BufferBytes,
		"max decompressed bytes": s.MaxDecompressedBytes, "max response bytes": s.MaxResponseBytes,
	} {
		if n < 0 || n > 1<<31-1 {
			fault("%s %d is not between 0 and 2 GiB", name, n)
		}
	}
	for name, d := range map[string]time.Duration{
		"linger": s.Linger, "fetch wait": s.FetchWait, "dial timeout": s.DialTimeout, "request timeout": s.RequestTimeout,
		"retry timeout": s.RetryTimeout, "session timeout": s.SessionTimeout, "rebalance timeout": s.RebalanceTimeout,
		"transaction timeout": s.TransactionTimeout, "commit interval": s.CommitInterval,
	} {
		if d < 0 {
			fault("%s %s is negative", name, d)
		}
	}
	if s.TransactionTimeout > 0 && s.TransactionTimeout <= s.CommitInterval {
		fault("transaction timeout %s is not longer than the commit interval, %s", s.TransactionTimeout, s.CommitInterval)
	}
	faults = append(faults, s.TLS.validate(), s.SASL.validate())
	return errors.Join(faults...)
}

var instanceName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (t TLSSettings) validate() error {
	var faults []error
	fault := func(text string) { faults = append(faults, errors.New("kafka tls: "+text)) }
	if !t.Enabled {
		if t != (TLSSettings{}) {
			fault("settings are given, but it is not enabled")
		}
		return errors.Join(faults...)
	}
	if t.CAFile != "" && t.CA != "" {
		fault("authorities are given as a file and as text")
	}
	if t.CertFile != "" && t.Cert != "" || t.KeyFile != "" && t.Key != "" {
		fault("client certificate is given as a file and as text")
	}
	if (t.CertFile+t.Cert == "") != (t.KeyFile+string(t.Key) == "") {
		fault("a client certificate needs both certificate and key")
	}
	if _, err := t.config(); err != nil && len(faults) == 0 {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (s SASLSettings) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("kafka sasl: "+format, args...)) }
	switch s.Mechanism {
	case "":
		if s != (SASLSettings{}) {
			fault("settings are given, but no mechanism")
		}
	case MechanismPlain, MechanismSCRAM256, MechanismSCRAM512:
		if s.User == "" || s.Password == "" {
			fault("%s needs user and password", s.Mechanism)
		}
		if s.Token != "" || s.TokenFile != "" {
			fault("%s takes no token", s.Mechanism)
		}
	case MechanismOAuthBearer:
		if (s.Token == "") == (s.TokenFile == "") {
			fault("OAUTHBEARER needs a token or a token file")
		}
		if s.TokenFile != "" {
			if _, err := os.Stat(s.TokenFile); err != nil {
				fault("read token file: %w", err)
			}
		}
		if s.User != "" || s.Password != "" {
			fault("OAUTHBEARER takes no user and password")
		}
	default:
		fault("mechanism %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER", s.Mechanism)
	}
	return errors.Join(faults...)
}

// protocolVersion is the newest that sarama knows; the versions of requests
// are negotiated down per broker, to Kafka 2.5 at least.
var protocolVersion = sarama.V4_3_0_0

// saramaConfig is what every connection starts from. Encryption is not sarama's affair: see dialer.
func (s Settings) saramaConfig() (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.ClientID = s.ClientID
	c.Version = protocolVersion
	c.ApiVersionsRequest = true
	c.Net.DialTimeout = s.DialTimeout
	c.Net.ReadTimeout = s.RequestTimeout
	c.Net.WriteTimeout = s.RequestTimeout
	s.SASL.apply(c)
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("kafka settings: %w", err)
	}
	return c, nil
}

func (c Compression) codec() sarama.CompressionCodec {
	switch c {
	case CompressionLZ4:
		return sarama.CompressionLZ4
	case CompressionZSTD:
		return sarama.CompressionZSTD
	}
	return sarama.CompressionNone
}

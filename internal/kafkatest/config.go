package kafkatest

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Names of the listeners. Plaintext is always there, the others with
// Options.Secure.
const (
	Plaintext     = "PLAINTEXT"
	TLS           = "TLS"     // server certificate only
	MutualTLS     = "MTLS"    // the client must show a certificate of the CA
	SASLPlaintext = "SASL"    // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER
	SASLTLS       = "SASLTLS" // the same over TLS
	// Internal is there with Options.Advertise and in a Cluster: brokers talk to
	// each other on it, and tests to brokers without what stands between.
	Internal   = "INTERNAL"
	controller = "CONTROLLER"
)

// User and Password are what the SASL listeners accept by PLAIN. SCRAM users
// are created by the test; OAUTHBEARER takes unsecured tokens of any subject.
const (
	User     = "alice"
	Password = "alice-secret"
)

// Options of a broker; the zero value is a plaintext broker for tests.
type Options struct {
	// Properties are added to server.properties, and override what is there.
	Properties map[string]string
	// Secure opens the TLS and SASL listeners too.
	Secure bool
	// Advertise, where it is set, is given the address of the plaintext listener
	// before the broker starts, and returns the one that clients are told instead:
	// that of a proxy. Clients of the listener Internal are told the true one.
	Advertise func(addr string) (string, error)
	// HeapMB is the JVM's heap, 512 when 0.
	HeapMB int
	// Optimize uses all compilers of the JVM: slower to start, faster after
	// a while; for benchmarks.
	Optimize bool
	// Dir holds everything; a temporary directory, removed at the end, when "".
	Dir string
}

var listenerProtocols = []struct{ name, protocol string }{
	{Plaintext, "PLAINTEXT"},
	{TLS, "SSL"},
	{MutualTLS, "SSL"},
	{SASLPlaintext, "SASL_PLAINTEXT"},
	{SASLTLS, "SASL_SSL"},
	{Internal, "PLAINTEXT"},
}

// writeConfig writes everything that the broker reads at its start: identity
// of the node, certificates and server.properties. The log directory is
// formatted by hand: the tool for that would be a second JVM.
func (b *Broker) writeConfig(o Options) error {
	logs := filepath.Join(b.dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	meta := fmt.Sprintf("version=1\nnode.id=%d\ncluster.id=c3RyZWFtY3RsLXRlc3QAAA\ndirectory.id=c3RyZWFtY3RsLWRpc%cAAAA\n", b.node.id, 'f'+b.node.id)
	if err := os.WriteFile(filepath.Join(logs, "meta.properties"), []byte(meta), 0o644); err != nil {
		return fmt.Errorf("write meta.properties: %w", err)
	}
	p, err := b.baseProperties(logs, o)
	if err != nil {
		return err
	}
	if o.Secure {
		certs, err := writeCerts(filepath.Join(b.dir, "certs"))
		if err != nil {
			return fmt.Errorf("write certificates: %w", err)
		}
		b.certs = certs
		addSecurity(p, certs)
	}
	for k, v := range o.Properties {
		p[k] = v
	}
	lines := make([]string, 0, len(p))
	for k, v := range p {
		lines = append(lines, k+"="+v+"\n")
	}
	sort.Strings(lines)
	if err := os.WriteFile(b.propertiesFile(), []byte(strings.Join(lines, "")), 0o600); err != nil {
		return fmt.Errorf("write server.properties: %w", err)
	}
	return nil
}

func (b *Broker) baseProperties(logs string, o Options) (map[string]string, error) {
	var listeners, advertised, protocols []string
	between := Plaintext // brokers
	for _, l := range listenerProtocols {
		port, ok := b.ports[l.name]
		if !ok {
			continue
		}
		at := fmt.Sprintf("127.0.0.1:%d", port)
		told := at
		switch {
		case l.name == Internal:
			between = Internal
		case l.name == Plaintext && o.Advertise != nil:
			var err error
			if told, err = o.Advertise(at); err != nil {
				return nil, fmt.Errorf("find address to advertise: %w", err)
			}
			b.told = told
		}
		listeners, advertised = append(listeners, l.name+"://"+at), append(advertised, l.name+"://"+told)
		protocols = append(protocols, l.name+":"+l.protocol)
	}
	listeners = append(listeners, fmt.Sprintf("%s://127.0.0.1:%d", controller, b.ports[controller]))
	protocols = append(protocols, controller+":PLAINTEXT")
	copies, least := strconv.Itoa(min(b.node.copies, 3)), strconv.Itoa(min(b.node.copies, 3)/2+1)
	return map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(b.node.id),
		"controller.quorum.voters":       b.node.voters,
		"listeners":                      strings.Join(listeners, ","),
		"advertised.listeners":           strings.Join(advertised, ","),
		"listener.security.protocol.map": strings.Join(protocols, ","),
		"controller.listener.names":      controller,
		"inter.broker.listener.name":     between,
		"log.dirs":                       logs,
		"auto.create.topics.enable":      "false",

		// Test data bear old times; half a minute after its start the broker would
		// begin to delete them.
		"log.retention.ms": "-1",

		// A killed broker may register again only when its last session is over.
		"broker.session.timeout.ms":    "2000",
		"broker.heartbeat.interval.ms": "250",

		"default.replication.factor":                       copies,
		"min.insync.replicas":                              least,
		"offsets.topic.replication.factor":                 copies,
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         copies,
		"transaction.state.log.min.isr":                    least,
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": copies,
		"share.coordinator.state.topic.min.isr":            least,
		"group.initial.rebalance.delay.ms":                 "0",
		// Tests of lost members cannot wait for the usual 6 s and more.
		"group.min.session.timeout.ms": "500",
	}, nil
}

func addSecurity(p map[string]string, c Certs) {
	p["ssl.keystore.type"] = "PEM"
	p["ssl.keystore.location"] = c.serverKeystore
	p["ssl.truststore.type"] = "PEM"
	p["ssl.truststore.location"] = c.CA
	p["ssl.client.auth"] = "none"
	p["listener.name.mtls.ssl.client.auth"] = "required"
	p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
	for _, l := range []string{SASLPlaintext, SASLTLS} {
		prefix := "listener.name." + strings.ToLower(l) + "."
		p[prefix+"plain.sasl.jaas.config"] = fmt.Sprintf(
			"org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", User, Password)
		scram := "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		p[prefix+"scram-sha-256.sasl.jaas.config"] = scram
		p[prefix+"scram-sha-512.sasl.jaas.config"] = scram
		p[prefix+"oauthbearer.sasl.jaas.config"] =
			`org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`
	}
}

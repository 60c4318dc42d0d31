package pipeline

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// Kafka is the deployment section: where the brokers are and how to log in.
// Its scalars may hold ${env:NAME} and the like; Resolve gives the values.
type Kafka struct {
	Span     diag.Span
	Node     *syntax.Node
	Brokers  []Text
	Group    Text // consumer group; default the pipeline's name
	ClientID Text
	TLS      *KafkaTLS
	SASL     *KafkaSASL
	Timeouts KafkaTimeouts
}

// KafkaTLS is kafka.tls. An empty mapping (`tls: {}`) switches TLS on with the
// system's authorities.
type KafkaTLS struct {
	Span               diag.Span
	CA                 Text // file, PEM
	Cert, Key          Text // files, PEM: client certificate
	ServerName         Text
	InsecureSkipVerify Text // bool
}

// KafkaSASL is kafka.sasl.
type KafkaSASL struct {
	Span      diag.Span
	Mechanism Text // PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512 | OAUTHBEARER
	Username  Text
	Password  Text // secret
	Token     Text // secret, OAUTHBEARER
}

// Secret is a value that is never printed: every way of formatting it, JSON
// and logging included, gives stars. Reveal hands it to the client library.
type Secret struct{ value string }

// NewSecret makes a Secret.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value itself.
func (s Secret) Reveal() string { return s.value }

// Set reports whether there is a value.
func (s Secret) Set() bool { return s.value != "" }

const stars = "***"

func (s Secret) String() string               { return stars }
func (s Secret) GoString() string             { return stars }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(stars)) }
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(stars) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(stars), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(stars) }

// KafkaSettings is the deployment section with every ${...} replaced.
type KafkaSettings struct {
	Brokers  []string // host:port, at least one
	Group    string   // "" = the pipeline's name
	ClientID string
	TLS      *TLSSettings  // nil = plain text
	SASL     *SASLSettings // nil = no login
	Timeouts TimeoutSettings
}

// TLSSettings name files; nothing has been read yet.
type TLSSettings struct {
	CA, Cert, Key      string
	ServerName         string
	InsecureSkipVerify bool
}

// SASLSettings is a login.
type SASLSettings struct {
	Mechanism string
	Username  Secret // often an access key
	Password  Secret
	Token     Secret
}

func mechanisms() []string {
	return []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}
}

// kafka reads the section; values are only checked for the form of ${...}.
func (p *parser) kafka(n *syntax.Node) *Kafka {
	k := &Kafka{Span: n.Span, Node: n}
	if n.IsNull() {
		p.list.Errorf(codeWrongType, n.Span, "kafka: expected a mapping, got nothing").
			Help = "add brokers:, or remove the key to use the embedded broker"
		return nil
	}
	p.mapping(n, "kafka", n.At(0, 0), append([]key{
		{name: "brokers", read: func(n *syntax.Node) { k.Brokers = p.brokers(n) }, required: "brokers: [HOST:PORT]"},
		{name: "group", read: p.setting(&k.Group)},
		{name: "client_id", read: p.setting(&k.ClientID)},
		{name: "tls", read: func(n *syntax.Node) { k.TLS = p.tls(n) }},
		{name: "sasl", read: func(n *syntax.Node) { k.SASL = p.sasl(n) }},
	}, p.timeoutKeys(&k.Timeouts)...), hints{
		"bootstrap_servers": "did you mean \"brokers\"?", "bootstrap.servers": "did you mean \"brokers\"?",
		"group_id": "did you mean \"group\"?", "group.id": "did you mean \"group\"?",
		"session.timeout.ms": "did you mean \"session_timeout\"?", "transaction.timeout.ms": "did you mean \"transaction_timeout\"?",
		"username": "username belongs under sasl:", "password": "password belongs under sasl:",
	}, "rack", "partitioner", "compression", "acks")
	return k
}

func (p *parser) tls(n *syntax.Node) *KafkaTLS {
	t := &KafkaTLS{Span: n.Span}
	p.mapping(n, "kafka.tls", n.Span, []key{
		{name: "ca", read: p.setting(&t.CA)},
		{name: "cert", read: p.setting(&t.Cert)},
		{name: "key", read: p.setting(&t.Key)},
		{name: "server_name", read: p.setting(&t.ServerName)},
		{name: "insecure_skip_verify", read: p.setting(&t.InsecureSkipVerify)},
	}, hints{"insecure": "did you mean \"insecure_skip_verify\"?", "enabled": "`tls: {}` switches TLS on"})
	if n.Kind == syntax.Mapping && t.Cert.Set != t.Key.Set {
		given, missing := t.Cert, "key"
		if t.Key.Set {
			given, missing = t.Key, "cert"
		}
		p.list.Errorf(codeMissingField, given.Span, "kafka.tls has no %s", missing).
			Help = "a client certificate needs both cert: FILE and key: FILE"
	}
	return t
}

func (p *parser) sasl(n *syntax.Node) *KafkaSASL {
	s := &KafkaSASL{Span: n.Span}
	before := len(p.list)
	p.mapping(n, "kafka.sasl", n.At(0, 0), []key{
		{name: "mechanism", read: p.setting(&s.Mechanism), required: "mechanism: " + strings.Join(mechanisms(), " | ")},
		{name: "username", read: p.setting(&s.Username)},
		{name: "password", read: p.setting(&s.Password)},
		{name: "token", read: p.setting(&s.Token)},
	}, hints{"user": "did you mean \"username\"?", "type": "did you mean \"mechanism\"?"})
	if len(p.list) > before || s.Mechanism.hasInterpolation() {
		return s
	}
	p.list.Append(s.check(s.Mechanism.Value))
	return s
}

// check reports what a mechanism needs and does not get.
func (s *KafkaSASL) check(mechanism string) diag.List {
	var list diag.List
	need := func(t Text, name string) {
		if !t.Set {
			list.Errorf(codeMissingField, s.Mechanism.Span, "kafka.sasl has no %s", name).
				Help = fmt.Sprintf("%s needs `%s: ...`; keep secrets outside the file: ${env:NAME} or ${file:/path}", mechanism, name)
		}
	}
	switch strings.ToUpper(mechanism) {
	case "OAUTHBEARER":
		need(s.Token, "token")
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		need(s.Username, "username")
		need(s.Password, "password")
	default:
		d := list.Errorf(codeBadValue, s.Mechanism.Span, "%q is no SASL mechanism", s.Mechanism.Value)
		if near := diag.Nearest(mechanism, mechanisms()); near != "" {
			d.Help = fmt.Sprintf("did you mean %q?", near)
		} else {
			d.Help = "use one of " + strings.Join(mechanisms(), ", ")
		}
	}
	return list
}

// setting reads a scalar that may hold ${...}.
func (p *parser) setting(into *Text) func(*syntax.Node) {
	return func(n *syntax.Node) {
		t, ok := p.scalar(n, "a text")
		if !ok {
			return
		}
		p.list.Append(syntax.CheckInterpolation(n))
		*into = t
	}
}

// brokers reads a list, or a text with commas (as --set and ${env:...} give it).
func (p *parser) brokers(n *syntax.Node) []Text {
	items := n.Items
	if n.Kind == syntax.Scalar {
		items = []*syntax.Node{n}
	} else if n.Kind != syntax.Sequence || len(items) == 0 {
		p.wrongType(n, "kafka.brokers", "a list of HOST:PORT")
		return nil
	}
	var brokers []Text
	for _, item := range items {
		var t Text
		p.setting(&t)(item)
		if !t.Set {
			continue
		}
		if !t.hasInterpolation() {
			for _, address := range strings.Split(t.Value, ",") {
				if fault := addressFault(address); fault != "" {
					p.list.Errorf(codeBadValue, t.Span, "broker %q %s", strings.TrimSpace(address), fault).
						Help = "write HOST:PORT, for example localhost:9092"
				}
			}
		}
		brokers = append(brokers, t)
	}
	return brokers
}

func addressFault(address string) string {
	address = strings.TrimSpace(address)
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "has no port"
	}
	if port, err := strconv.Atoi(address[i+1:]); err != nil || port < 1 || port > 65535 {
		return "has no valid port"
	}
	if i == 0 {
		return "has no host"
	}
	if strings.Contains(address, "/") {
		return "is no HOST:PORT"
	}
	return ""
}

func (t Text) hasInterpolation() bool { return strings.Contains(t.Value, "${") }

// Resolve replaces every ${...} by what lookup says and checks the results.
// Messages never hold a value that was looked up.
func (k *Kafka) Resolve(lookup syntax.Lookup) (KafkaSettings, diag.List) {
	r := kafkaResolver{lookup: lookup}
	var s KafkaSettings
	for _, b := range k.Brokers {
		for _, address := range strings.Split(r.text(b), ",") {
			address = strings.TrimSpace(address)
			if fault := addressFault(address); fault != "" && !r.list.HasErrors() {
				r.list.Errorf(codeBadValue, b.Span, "this broker address, with ${...} replaced, %s", fault).
					Help = "it must be HOST:PORT, or several separated by commas"
			}
			s.Brokers = append(s.Brokers, address)
		}
	}
	s.Group, s.ClientID = r.text(k.Group), r.text(k.ClientID)
	s.Timeouts = k.Timeouts.resolve(&r)
	if t := k.TLS; t != nil {
		s.TLS = &TLSSettings{CA: r.text(t.CA), Cert: r.text(t.Cert), Key: r.text(t.Key), ServerName: r.text(t.ServerName)}
		s.TLS.InsecureSkipVerify = r.bool(t.InsecureSkipVerify)
	}
	if a := k.SASL; a != nil {
		mechanism := r.text(a.Mechanism)
		s.SASL = &SASLSettings{
			Mechanism: strings.ToUpper(mechanism),
			Username:  NewSecret(r.text(a.Username)),
			Password:  NewSecret(r.text(a.Password)),
			Token:     NewSecret(r.text(a.Token)),
		}
		if a.Mechanism.hasInterpolation() {
			r.list.Append(a.check(mechanism))
		}
	}
	r.list.Sort()
	return s, r.list
}

type kafkaResolver struct {
	lookup syntax.Lookup
	list   diag.List
}

func (r *kafkaResolver) text(t Text) string {
	if !t.Set {
		return ""
	}
	value, list := syntax.Interpolate(t.Node, r.lookup)
	r.list.Append(list)
	return value
}

func (r *kafkaResolver) bool(t Text) bool {
	value := r.text(t)
	if value == "" {
		return false
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		r.list.Errorf(codeBadValue, t.Span, "expected true or false")
	}
	return b
}

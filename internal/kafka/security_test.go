package kafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/kafkatest"
)

// unsecuredToken is a JWS without signature, as Kafka's own validator takes it
// where nothing else is configured.
func unsecuredToken(subject string) string {
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	now := time.Now().Unix()
	return part(map[string]string{"alg": "none"}) + "." +
		part(map[string]any{"sub": subject, "iat": now, "exp": now + 3600}) + "."
}

// addSCRAMUser creates a user at the broker.
func addSCRAMUser(t *testing.T, addr, user, password string) {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Version = protocolVersion
	admin, err := sarama.NewClusterAdmin([]string{addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, m := range []sarama.ScramMechanismType{sarama.SCRAM_MECHANISM_SHA_256, sarama.SCRAM_MECHANISM_SHA_512} {
		results, err := admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{
			{Name: user, Mechanism: m, Iterations: 4096, Salt: []byte("salt-" + user), Password: []byte(password)},
		})
		if err != nil || results[0].ErrorCode != sarama.ErrNoError {
			t.Fatalf("create SCRAM user: %+v, %v", results, err)
		}
	}
}

// TestSecurity connects in every way that the settings know, and moves a record.
func TestSecurity(t *testing.T) {
	broker := shared.Broker(t)
	addSCRAMUser(t, broker.Addr(), "scram-user", "scram-secret")
	certs := broker.Certs()
	pem := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(unsecuredToken("file-user")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tls := TLSSettings{Enabled: true, CAFile: certs.CA}
	scram := func(mechanism, password string) SASLSettings {
		return SASLSettings{Mechanism: mechanism, User: "scram-user", Password: Secret(password)}
	}
	for _, c := range []struct {
		name     string
		listener string
		tls      TLSSettings
		sasl     SASLSettings
		fails    string // part of the error; "" = works
	}{
		{"tls", kafkatest.TLS, tls, SASLSettings{}, ""},
		{"tls by text", kafkatest.TLS, TLSSettings{Enabled: true, CA: pem(certs.CA), ServerName: "localhost"}, SASLSettings{}, ""},
		{"tls unverified", kafkatest.TLS, TLSSettings{Enabled: true, InsecureSkipVerify: true}, SASLSettings{}, ""},
		{"tls of unknown authority", kafkatest.TLS, TLSSettings{Enabled: true, CAFile: certs.OtherCA}, SASLSettings{}, "certificate signed by unknown authority"},
		{"tls of another name", kafkatest.TLS, TLSSettings{Enabled: true, CAFile: certs.CA, ServerName: "elsewhere"}, SASLSettings{}, "not elsewhere"},
		{"mtls", kafkatest.MutualTLS, TLSSettings{Enabled: true, CAFile: certs.CA, CertFile: certs.ClientCert, KeyFile: certs.ClientKey}, SASLSettings{}, ""},
		{"mtls by text", kafkatest.MutualTLS, TLSSettings{Enabled: true, CAFile: certs.CA, Cert: pem(certs.ClientCert), Key: Secret(pem(certs.ClientKey))}, SASLSettings{}, ""},
		{"mtls without certificate", kafkatest.MutualTLS, tls, SASLSettings{}, "certificate"},
		{"mtls with a stranger's certificate", kafkatest.MutualTLS, TLSSettings{Enabled: true, CAFile: certs.CA, CertFile: certs.OtherCert, KeyFile: certs.OtherKey}, SASLSettings{}, "certificate"},
		{"plain", kafkatest.SASLPlaintext, TLSSettings{}, SASLSettings{Mechanism: MechanismPlain, User: kafkatest.User, Password: kafkatest.Password}, ""},
		{"plain over tls", kafkatest.SASLTLS, tls, SASLSettings{Mechanism: MechanismPlain, User: kafkatest.User, Password: kafkatest.Password}, ""},
		{"plain with a wrong password", kafkatest.SASLPlaintext, TLSSettings{}, SASLSettings{Mechanism: MechanismPlain, User: kafkatest.User, Password: "wrong-secret"}, "Authentication failed"},
		{"scram 256", kafkatest.SASLPlaintext, TLSSettings{}, scram(MechanismSCRAM256, "scram-secret"), ""},
		{"scram 512 over tls", kafkatest.SASLTLS, tls, scram(MechanismSCRAM512, "scram-secret"), ""},
		{"scram with a wrong password", kafkatest.SASLPlaintext, TLSSettings{}, scram(MechanismSCRAM512, "wrong-secret"), "uthentication"},
		{"oauthbearer", kafkatest.SASLPlaintext, TLSSettings{}, SASLSettings{Mechanism: MechanismOAuthBearer, Token: Secret(unsecuredToken("bearer"))}, ""},
		{"oauthbearer by file over tls", kafkatest.SASLTLS, tls, SASLSettings{Mechanism: MechanismOAuthBearer, TokenFile: tokenFile}, ""},
		{"oauthbearer with nonsense", kafkatest.SASLPlaintext, TLSSettings{}, SASLSettings{Mechanism: MechanismOAuthBearer, Token: "nonsense-secret"}, "uthentication"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{T: t, addr: broker.Listener(c.listener), real: true}
			set := e.settings()
			set.TLS, set.SASL, set.DialTimeout = c.tls, c.sasl, 5*time.Second
			began := time.Now()
			tr, err := Open(e.ctx(), set)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, want an error with %q", err, c.fails)
				}
				if time.Since(began) > 4*time.Second {
					t.Errorf("a refusal was retried for %v", time.Since(began))
				}
				if strings.Contains(err.Error(), "wrong-secret") || strings.Contains(err.Error(), "nonsense-secret") {
					t.Errorf("the error tells a secret: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			topic := e.topic(tr, 1, nil)
			p := e.producer(tr, e.name("id"))
			p.Send(tp(topic, 0), rec("k", c.name))
			e.mustCommit(p, engine.Commit{})
			if got := e.readAll(tr, tp(topic, 0)); len(got) != 1 || string(got[0].Value) != c.name {
				t.Errorf("got %q", values(got))
			}
		})
	}
}

// TestSecretsDoNotPrint formats settings in every way that logs might.
func TestSecretsDoNotPrint(t *testing.T) {
	set := Settings{
		Brokers: []string{"b:1"},
		SASL:    SASLSettings{Mechanism: MechanismPlain, User: "u", Password: "hush-1", Token: "hush-2"},
		TLS:     TLSSettings{Key: "hush-3"},
	}
	data, err := json.Marshal(struct{ S SASLSettings }{set.SASL})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(set), fmt.Sprintf("%+v", set), fmt.Sprintf("%#v", set), fmt.Sprintf("%q", set.SASL), fmt.Sprintf("%x", set.SASL), fmt.Sprintf("%d", set.SASL.Password), string(data),
	} {
		if strings.Contains(text, "hush") || strings.Contains(text, "687573682d") {
			t.Errorf("a secret in %s", text)
		}
	}
}

// TestOpenUnreachable says what cannot be reached, within the dial timeout.
func TestOpenUnreachable(t *testing.T) {
	began := time.Now()
	_, err := Open(context.Background(), Settings{Brokers: []string{"127.0.0.1:1"}, DialTimeout: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestValidateListsAllFaults gives everything wrong at once.
func TestValidateListsAllFaults(t *testing.T) {
	err := Settings{
		Brokers: []string{"nohost", "ok:9092"}, Instance: "a b", Compression: "gzip", BatchBytes: -1, Linger: -1,
		TLS:  TLSSettings{CAFile: "x"},
		SASL: SASLSettings{Mechanism: "MAGIC"},
	}.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{`broker "nohost"`, `instance "a b"`, `compression "gzip"`, "batch bytes -1", "linger", "tls: settings are given", `mechanism "MAGIC"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if err := (Settings{Brokers: []string{"[::1]:9092"}}).Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for name, bad := range map[string]Settings{
		"no brokers":         {},
		"needs user and":     {Brokers: []string{"a:1"}, SASL: SASLSettings{Mechanism: MechanismSCRAM256}},
		"needs a token":      {Brokers: []string{"a:1"}, SASL: SASLSettings{Mechanism: MechanismOAuthBearer}},
		"needs both":         {Brokers: []string{"a:1"}, TLS: TLSSettings{Enabled: true, Cert: "c"}},
		"file and as text":   {Brokers: []string{"a:1"}, TLS: TLSSettings{Enabled: true, CA: "c", CAFile: "f"}},
		"no PEM certificate": {Brokers: []string{"a:1"}, TLS: TLSSettings{Enabled: true, CA: "c"}},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

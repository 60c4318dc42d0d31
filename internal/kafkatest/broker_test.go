package kafkatest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLaunchKillRestart(t *testing.T) {
	ctx := context.Background()
	if _, err := resolve(ctx); err != nil {
		refuse(t, err)
	}
	begin := time.Now()
	b := Start(t, Options{Secure: true})
	t.Logf("ready after %v", time.Since(begin))
	if n, err := countBrokers(b.Addr()); err != nil || n != 1 {
		t.Fatalf("brokers: got %d, %v; want 1", n, err)
	}
	pem, err := os.ReadFile(b.Certs().CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", b.Listener(TLS), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatalf("dial TLS listener: %v", err)
	}
	conn.Close()

	addr, pid := b.Addr(), b.Pid()
	b.Kill()
	if _, err := countBrokers(addr); err == nil {
		t.Fatal("a killed broker still answers")
	}
	begin = time.Now()
	if err := b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready again after %v", time.Since(begin))
	if b.Addr() != addr || b.Pid() == pid {
		t.Fatalf("restart: addr %s -> %s, pid %d -> %d", addr, b.Addr(), pid, b.Pid())
	}
	if err := b.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := countBrokers(addr); err == nil {
		t.Fatal("a stopped broker still answers")
	}
}

func TestLaunchReportsWhatTheBrokerSaid(t *testing.T) {
	ctx := context.Background()
	if _, err := resolve(ctx); err != nil {
		refuse(t, err)
	}
	_, err := Launch(ctx, Options{Properties: map[string]string{"log.segment.bytes": "no number"}})
	if err == nil || !strings.Contains(err.Error(), "log.segment.bytes") {
		t.Fatalf("got %v, want the broker's complaint about log.segment.bytes", err)
	}
}

func TestLockFileExcludes(t *testing.T) {
	path := t.TempDir() + "/lock"
	unlock, err := lockFile(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); err != context.DeadlineExceeded {
		t.Fatalf("second lock: got %v, want deadline exceeded", err)
	}
	unlock()
	unlock, err = lockFile(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

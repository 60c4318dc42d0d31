package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the server. Answers are small and requests have no body.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 16 << 10
	bodyBytes     = 4 << 10
	scrapeTimeout = 10 * time.Second
	scrapesAtOnce = 40
)

// Options of a Server.
type Options struct {
	// Address is HOST:PORT; a port alone, also as :PORT, is one of 127.0.0.1.
	Address string
	Version string // of the program, for streamctl_build_info
	Targets []*Target
	Logger  *slog.Logger
}

// Server serves /livez, /readyz and /metrics.
type Server struct {
	http     *http.Server
	listener net.Listener
	ended    chan error
}

// Address completes what --http was given: a port alone is one of the loopback.
func Address(given string) (string, error) {
	if !strings.Contains(given, ":") {
		given = ":" + given
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return "", fmt.Errorf("read address: %w", err)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return "", fmt.Errorf("read address %s: want HOST:PORT or a port", given)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Listen opens the address; Serve answers.
func Listen(o Options) (*Server, error) {
	addr, err := Address(o.Address)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		o.Logger.Warn("probes and metrics can be read from other machines, without a login", "address", listener.Addr().String())
	}
	return &Server{
		listener: listener, ended: make(chan error, 1),
		http: &http.Server{
			Handler: Handler(o), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
			IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		},
	}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve begins to answer, in a goroutine that Close ends.
func (s *Server) Serve() {
	go func() { s.ended <- s.http.Serve(s.listener) }()
}

// Close ends the server. What is being answered has until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Handler answers the three paths, and nothing else.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		var checks []Check
		for _, t := range o.Targets {
			checks = append(checks, t.Live()...)
		}
		answer(w, "livez", checks)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		var checks []Check
		for _, t := range o.Targets {
			checks = append(checks, t.Ready(r.Context())...)
		}
		answer(w, "readyz", checks)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry(o), promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTimeout, ErrorHandling: promhttp.HTTPErrorOnError,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}))
	return http.MaxBytesHandler(mux, bodyBytes)
}

// answer writes checks as lines, with 503 when one of them fails.
func answer(w http.ResponseWriter, what string, checks []Check) {
	var text strings.Builder
	for _, c := range checks {
		text.WriteString(c.String() + "\n")
	}
	code, verdict := http.StatusOK, "passed"
	if !allOK(checks) {
		code, verdict = http.StatusServiceUnavailable, "failed"
	}
	fmt.Fprintf(&text, "%s check %s\n", what, verdict)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text.String())) // who asked may have gone
}

// Package shop is an application as there are many: orders come in over HTTP,
// WebSockets and gRPC, and go to PostgreSQL; traces and metrics go to a collector.
// It knows nothing of how it is started and stopped: that is what the recipes show.
package shop

import (
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"
)

// Config is what the command line says.
type Config struct {
	Web, RPC, Admin string        // addresses to listen on
	Database        string        // URL
	Collector       string        // of OpenTelemetry, host:port
	Alarm           time.Duration // for the whole shutdown
	Drain           time.Duration // from not ready to the listeners closed: for load balancers to notice
}

// Flags reads the command line, and sets the log up.
func Flags() *Config {
	var c Config
	flag.StringVar(&c.Web, "web", "127.0.0.1:8080", "address for HTTP and WebSockets")
	flag.StringVar(&c.RPC, "rpc", "127.0.0.1:8081", "address for gRPC")
	flag.StringVar(&c.Admin, "admin", "127.0.0.1:8082", "address for /readyz and /metrics")
	flag.StringVar(&c.Database, "database", "postgres:///postgres?host=/run/postgresql", "URL of the database")
	flag.StringVar(&c.Collector, "collector", "127.0.0.1:4317", "address of the OpenTelemetry collector")
	flag.DurationVar(&c.Alarm, "alarm", 10*time.Second, "how long a shutdown may take")
	flag.DurationVar(&c.Drain, "drain", 2*time.Second, "how long load balancers take to notice")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	return &c
}

// Listen binds a TCP address, and says which port that has become. Tests make its
// listeners die.
var Listen = func(name, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	slog.Info("listening", name, l.Addr().String())
	return l, nil
}

// Command service is an HTTP service that leaves as Kubernetes wants it to:
// ../kubernetes.md says what each line is for. Its environment, with the manifest's
// values in service.yaml:
//
//	ADDRESS         host:port to listen on
//	FAREWELL_ALARM  what a shutdown may take, below terminationGracePeriodSeconds
//	DRAIN           how long it goes on serving after it has said that it is not ready
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

func main() {
	alarm, err := duration("FAREWELL_ALARM")
	if err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(2)
	}
	os.Exit(fsm.Main(fsm.Config{Alarm: alarm}, start))
}

// start starts the service, which is stopped in the order that it registers.
func start(_ context.Context, o *fsm.Orchestrator) error {
	drain, err := duration("DRAIN")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", os.Getenv("ADDRESS"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: routes(o), ReadHeaderTimeout: 10 * time.Second}
	return errors.Join(
		o.Register("http", fsmhttp.Serve(server, listener)),
		fsmhttp.Drain(o, "drain", drain),
	)
}

func routes(o *fsm.Orchestrator) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /work", func(w http.ResponseWriter, r *http.Request) {
		pause, _ := time.ParseDuration(r.URL.Query().Get("takes"))
		select {
		case <-time.After(pause):
			fmt.Fprintln(w, "done")
		case <-r.Context().Done():
		}
	})
	mux.Handle("GET /readyz", fsmhttp.Readiness(o)) // 503 from the first moment of the request on
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// duration reads an environment variable; 0 if it is not set.
func duration(name string) (time.Duration, error) {
	text := os.Getenv(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s=%q is no duration, like 27s", name, text)
	}
	return d, nil
}

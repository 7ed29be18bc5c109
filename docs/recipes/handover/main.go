// Command handover is a server that is replaced while it runs: on SIGUSR2 the next
// process, of whatever is at its path by then, gets its listener, and it leaves as
// it does on SIGTERM. Nobody notices.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

func main() {
	address := flag.String("web", "127.0.0.1:8080", "address to listen on")
	pidFile := flag.String("pid", "", "file for the number of the process that is ready")
	logFile := flag.String("log", "/dev/stderr", "file for the log of this process and of those that follow it")
	drain := flag.Duration("drain", 500*time.Millisecond, "how long those who are connected may take to notice")
	flag.Parse()
	if log, err := os.OpenFile(*logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
		slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)).With("pid", os.Getpid()))
	}
	os.Exit(fsm.Main(fsm.Config{}, func(_ context.Context, o *fsm.Orchestrator) error {
		return start(o, *address, *pidFile, *drain)
	}))
}

func start(o *fsm.Orchestrator, address, pidFile string, drain time.Duration) error {
	next, err := tableflip.New(tableflip.Options{PIDFile: pidFile})
	if err != nil {
		return err
	}
	stop := fsm.Func(func(context.Context) error { next.Stop(); return nil })
	if err := o.Register("tableflip", stop, fsm.Last()); err != nil {
		return err
	}
	l, err := next.Listen("tcp", address) // or what the process before us had
	if err != nil {
		return err
	}
	slog.Info("listening", "web", l.Addr().String())
	server := &http.Server{Handler: http.HandlerFunc(serve)}
	if err := o.Register("web", fsmhttp.Serve(server, fsmhttp.HandOver(l))); err != nil {
		return err
	}
	if err := fsmhttp.Drain(o, "drain", drain); err != nil {
		return err
	}
	go replaceOnSignal(next)
	go func() {
		<-next.Exit() // the next process is ready
		o.Request(fsm.Command{Reason: "handed over", By: "tableflip"})
	}()
	return next.Ready() // now the process before us leaves
}

// replaceOnSignal takes SIGUSR2, because to fsm SIGHUP means to leave. Until the
// process before us has ended it cannot be done, and whoever asks has to ask again.
func replaceOnSignal(next *tableflip.Upgrader) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGUSR2)
	for range received {
		if err := next.Upgrade(); err != nil { // we go on
			slog.Error("not replaced", "error", err)
		}
	}
}

// serve answers with what it is sent, and who answers.
func serve(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %s", os.Getpid(), text)
}

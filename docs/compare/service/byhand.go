package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
)

// What is here the libraries leave to their users. It is counted with each file
// that uses it.

// untilAfter returns a ctx that ends some time after another.
func untilAfter(ctx context.Context, d time.Duration) context.Context {
	later, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	})
	return later
}

// drain stops being ready, and gives load balancers the time to notice.
func drain(ctx context.Context, ready *Ready) {
	ready.Set(false)
	select {
	case <-time.After(Drain):
	case <-ctx.Done():
	}
}

// serveWeb serves, and takes a shutdown for no error.
func serveWeb(server *http.Server, l net.Listener) error {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stopWeb shuts the server and its WebSockets down, or closes them when ctx ends.
func stopWeb(ctx context.Context, server *http.Server, sockets *Sockets) error {
	hijacked := make(chan error, 1)
	go func() { hijacked <- sockets.Shutdown(ctx) }()
	err := server.Shutdown(ctx)
	if err != nil {
		_ = server.Close()
	}
	return errors.Join(err, <-hijacked)
}

// stopRPC lets calls finish until ctx ends.
func stopRPC(ctx context.Context, server *grpc.Server) error {
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	server.GracefulStop()
	return nil
}

// closePool waits for the pool until ctx ends, or so long that there is time left
// for what comes after.
func closePool(ctx context.Context, pool *Pool) error {
	ctx, cancel := context.WithTimeout(ctx, Deadline*6/10)
	defer cancel()
	closed := make(chan struct{})
	go func() { pool.Close(); close(closed) }()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// both runs two at once.
func both(a, b func() error) error {
	other := make(chan error, 1)
	go func() { other <- b() }()
	return errors.Join(a(), <-other)
}

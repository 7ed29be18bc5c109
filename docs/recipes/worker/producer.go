package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// producer publishes results. It owns the connection, so it goes last.
type producer struct {
	nats *nats.Conn
	js   jetstream.JetStream
}

// publish returns when the result is stored. One of the same name is stored once.
func (p *producer) publish(ctx context.Context, name string, result []byte) error {
	ctx, cancel := context.WithTimeout(ctx, redeliver)
	defer cancel()
	_, err := p.js.Publish(ctx, "results."+name, result, jetstream.WithMsgID(name))
	return err
}

// Shutdown sends what has been published, and closes the connection.
func (p *producer) Shutdown(ctx context.Context) error {
	defer p.nats.Close()
	return p.nats.FlushWithContext(ctx)
}

// tick says that the worker is alive, and at the end that it has gone.
func (p *producer) tick(ctx context.Context) error {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			if err := p.nats.Publish("worker.alive", nil); err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) {
				return err
			}
		case <-ctx.Done():
			return p.nats.Publish("worker.gone", nil)
		}
	}
}

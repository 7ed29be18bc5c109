package streams

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/farewell-node/farewell/streams/identity"
)

// DialUntilUp dials again and again until a stream with peer is up or no dial can help, and returns as Dial does. It
// pauses half a second at first and a minute in the end, each pause off by up to half of it at random, so that the
// peers of a node that comes back do not all come at once. ctx, Quiesce and Shutdown end it.
func (p *Pool) DialUntilUp(ctx context.Context, peer identity.PublicKey, address string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.quiesced, func() { cancel(ErrLeaving) })()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := p.Dial(ctx, peer, address)
		if errors.Is(err, ErrSelf) || errors.Is(err, ErrNotAllowed) || errors.Is(err, ErrLeaving) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, pause time.Duration) {
		p.config.Logger.Info("peer is not reached", "peer", peer, "error", err, "again in", pause)
	}))
	return err
}

package client

import (
	"context"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// AddNeighbor has the node dial another one, now and whenever it cannot be reached; remembered, also when it is started
// again under the same key file. That it has been reached shows in [Client.Status].
func (c *Client) AddNeighbor(ctx context.Context, descriptor string, remember bool) error {
	return c.Call(ctx, wire.AddNeighbor, map[string]any{"descriptor": descriptor, "remember": remember}, nil)
}

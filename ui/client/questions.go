package client

import (
	"context"

	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// Status returns what the process is and does.
func (c *Client) Status(ctx context.Context) (*ui.Status, error) {
	var status ui.Status
	if err := c.Call(ctx, wire.Status, nil, &status); err != nil {
		return nil, err
	}
	return &status, nil
}

// Descriptor returns what others reach the node by; "" if it takes no connections.
func (c *Client) Descriptor(ctx context.Context) (string, error) {
	var payload struct {
		Descriptor string `json:"nodeDescriptorOpt"`
	}
	err := c.Call(ctx, wire.Descriptor, nil, &payload)
	return payload.Descriptor, err
}

// Stage returns how well the node is connected.
func (c *Client) Stage(ctx context.Context) (ui.Stage, error) {
	var payload struct {
		Stage ui.Stage `json:"stage"`
	}
	err := c.Call(ctx, wire.ConnectionStatus, nil, &payload)
	return payload.Stage, err
}

// Graph returns the neighborhood as the node knows it, as DOT text.
func (c *Client) Graph(ctx context.Context) (string, error) {
	var payload struct {
		Graph string `json:"graph"`
	}
	err := c.Call(ctx, wire.NeighborhoodGraph, nil, &payload)
	return payload.Graph, err
}

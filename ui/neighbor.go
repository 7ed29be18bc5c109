package ui

import (
	"encoding/json"
	"errors"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// NeighborAdder is a [Node] that can be given neighbors while it runs. AddNeighbor is called from many goroutines; a
// UI's next request waits until it returns.
type NeighborAdder interface {
	// AddNeighbor has the node of a descriptor dialed; remembered, in the lives to come as well.
	AddNeighbor(descriptor string, remember bool) error
}

func (c *conn) addNeighbor(m wire.Message) (any, error) {
	var request struct {
		Descriptor string `json:"descriptor"`
		Remember   bool   `json:"remember"`
	}
	if err := json.Unmarshal(m.Payload, &request); err != nil {
		return nil, errors.New("descriptor is not a string, or remember not a boolean")
	}
	node, ok := c.gateway.node.(NeighborAdder)
	if !ok {
		return nil, errors.New("this process takes no neighbors")
	}
	return struct{}{}, node.AddNeighbor(request.Descriptor, request.Remember)
}

package node

import (
	"errors"
	"fmt"

	"github.com/farewell-node/farewell/neighborhood"
)

// ErrNotRemembered is wrapped by AddNeighbor's error about a neighbor that was added, but will be forgotten at the end.
var ErrNotRemembered = errors.New("added, but not remembered")

// AddNeighbor has one more neighbor dialed, now and whenever it cannot be reached, as if it stood in Config.Neighbors. If
// remember is set, it is so too in the lives to come under the same key file, of at most 64 such neighbors; when it
// returns that is written. It may block while the disk or the neighborhood is slow. Errors wrap neighborhood.ErrConfig,
// neighborhood.ErrLeft or ErrNotRemembered.
func (n *Node) AddNeighbor(d neighborhood.Descriptor, remember bool) error {
	if err := n.neighborhood.AddNeighbor(d); err != nil {
		return fmt.Errorf("node: add neighbor: %w", err)
	}
	n.config.Logger.Info("neighbor added", "room", "node", "peer", d.Key, "address", d.Address, "remembered", remember)
	if !remember {
		return nil
	}
	if err := n.memory.add(d); err != nil {
		return fmt.Errorf("node: add neighbor: %w: %w", ErrNotRemembered, err)
	}
	return nil
}

// AddNeighbor implements ui.NeighborAdder.
func (v view) AddNeighbor(descriptor string, remember bool) error {
	d, err := neighborhood.ParseDescriptor(descriptor)
	if err != nil {
		return err
	}
	return v.node.AddNeighbor(d, remember)
}

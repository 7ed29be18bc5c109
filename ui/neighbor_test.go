package ui_test

import (
	"errors"
	"strings"
)

// AddNeighbor implements ui.NeighborAdder.
func (n *node) AddNeighbor(descriptor string, _ bool) error {
	if !strings.HasPrefix(descriptor, "farewell://") {
		return errors.New("not a descriptor")
	}
	return nil
}

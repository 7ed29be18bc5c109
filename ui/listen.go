package ui

import (
	"errors"
	"fmt"
	"net"
)

// ErrNotLoopback refuses an address that others could reach.
var ErrNotLoopback = errors.New("not a loopback address")

// Listen binds the gateway to a TCP address of this machine ("127.0.0.1:5333",
// "localhost:0", "[::1]:5333"). It returns the address bound. UIs can connect
// from then on; they are served as soon as [Gateway.Run] runs. It can be called
// once, before Run.
func (g *Gateway) Listen(address string) (net.Addr, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, fmt.Errorf("ui: listen on %s: %w", address, err)
	}
	g.listener = listener
	return listener.Addr(), nil
}

func listen(address string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !resolved.IP.IsLoopback() {
		return nil, ErrNotLoopback
	}
	return net.ListenTCP("tcp", resolved)
}

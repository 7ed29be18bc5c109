package client

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is where to dial, and the URL to ask for there.
type target struct {
	network, address string // empty: what the URL says
	url              string
}

// parseAddress understands a port on loopback, HOST:PORT, a ws or http URL, and
// unix:PATH.
func parseAddress(text string) (target, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return target{"unix", path, "ws://localhost/"}, nil
	}
	if port, err := strconv.ParseUint(text, 10, 16); err == nil {
		text = net.JoinHostPort("127.0.0.1", strconv.FormatUint(port, 10))
	}
	if !strings.Contains(text, "://") {
		if _, _, err := net.SplitHostPort(text); err != nil {
			return target{}, fmt.Errorf("client: address %q: neither a port, HOST:PORT, a URL nor unix:PATH", text)
		}
		return target{url: "ws://" + text + "/"}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return target{}, fmt.Errorf("client: address: %w", err)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	}
	u.Fragment = ""
	return target{url: u.String()}, nil
}

func (t target) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if t.network != "" {
		network, address = t.network, t.address
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

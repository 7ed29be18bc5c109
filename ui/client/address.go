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
	if path, ok := strings.CutPrefix(text, "unix:"); ok && path != "" {
		return target{"unix", path, "ws://localhost/"}, nil
	}
	u, ok := parseURL(text)
	if !ok {
		return target{}, fmt.Errorf("client: address %q: %w", text, ErrBadAddress)
	}
	u.Fragment = ""
	return target{url: u.String()}, nil
}

func parseURL(text string) (u *url.URL, ok bool) {
	isURL := strings.Contains(text, "://")
	if !isURL {
		if text != "" && strings.Trim(text, "0123456789") == "" {
			text = net.JoinHostPort("127.0.0.1", text)
		}
		text = "ws://" + text + "/"
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return nil, false
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return nil, false
	}
	return u, u.Port() == "" && isURL || hasPort(u.Host)
}

func hasPort(hostport string) bool {
	_, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

func (t target) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if t.network != "" {
		network, address = t.network, t.address
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

package ui

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// hosts are the names, in lower case, by which the gateway may be asked beside those of
// this machine: those of proxies before it.
type hosts []string

// parseHosts refuses what is no name, and names without a token: whoever reaches the
// proxy would be let in by it.
func parseHosts(names []string, token string) (hosts, error) {
	parsed := make(hosts, 0, len(names))
	for _, name := range names {
		if err := CheckHost(name); err != nil {
			return nil, fmt.Errorf("ui: config: %w", err)
		}
		parsed = append(parsed, strings.ToLower(name))
	}
	if len(parsed) > 0 && token == "" {
		return nil, fmt.Errorf("ui: config: host %q: a gateway that can be reached by other names needs a token", names[0])
	}
	return parsed, nil
}

// CheckHost refuses what cannot stand in Config.Hosts: what is not the name or the
// address of a host, or has a port.
func CheckHost(name string) error {
	if !isHostName(name) {
		return fmt.Errorf("%q is not the name or the address of a host, without a port", name)
	}
	return nil
}

func isHostName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	label := func(text string) bool {
		return text != "" && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
	}
	labels := strings.Split(name, ".")
	return len(name) < 254 && !slices.ContainsFunc(labels, func(text string) bool { return !label(text) })
}

// MayAsk reports whether a gateway that may also be asked by these names would serve a
// request, for servers of other pages on loopback: see Config.Hosts, [CheckHost] and
// what the package says of strangers.
func MayAsk(r *http.Request, names []string) bool {
	lower := make(hosts, 0, len(names))
	for _, name := range names {
		lower = append(lower, strings.ToLower(name))
	}
	return lower.mayAsk(r)
}

// mayAsk reports whether a request comes from this machine, and from no page but our
// own. A page from elsewhere gives itself away by its Origin, which browsers always send
// along with a WebSocket request; one that has its own name resolve to loopback, by the
// Host. A proxy may pass on its own name as either, with any port.
func (h hosts) mayAsk(r *http.Request) bool {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
		return false
	}
	return (isLoopback(r.Host) || h.has(r.Host)) && h.hasOrigin(r.Header["Origin"], r.Host)
}

func (h hosts) has(hostport string) bool { return slices.Contains(h, hostOf(hostport)) }

func (h hosts) hasOrigin(origins []string, host string) bool {
	switch len(origins) {
	case 0:
		return true
	case 1:
		origin, err := url.Parse(origins[0])
		web := err == nil && (origin.Scheme == "http" || origin.Scheme == "https")
		return web && (strings.EqualFold(origin.Host, host) || h.has(origin.Host))
	}
	return false
}

// isLoopback reports whether a Host header names this machine. Which port it names does
// not matter: behind a forwarded port it is another one.
func isLoopback(hostport string) bool {
	host := hostOf(hostport)
	ip := net.ParseIP(host)
	return isLocalhost(host) || ip != nil && ip.IsLoopback()
}

// isLocalhost: names are written in any case (RFC 4343).
func isLocalhost(host string) bool { return strings.EqualFold(host, "localhost") }

// hostOf returns the host in a Host header, in lower case.
func hostOf(hostport string) string {
	u := url.URL{Host: hostport}
	return strings.ToLower(u.Hostname())
}

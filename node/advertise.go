package node

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// How often a name that is advertised is resolved. Neighbors are shown an IP address (docs/gossip.md), others the name.
const (
	firstResolve = time.Second     // for the attempt that start-up waits for
	resolveTime  = 5 * time.Second // for one attempt
	resolveAgain = time.Minute     // at most so often, once it has been resolved
	resolveRetry = time.Minute     // at least so often, until then
)

// advertised is an address that others dial, as the configuration has it.
type advertised struct {
	name    string // HOST:PORT; "": others dial where the pool listens
	resolve func(ctx context.Context, name string) (string, error)
}

// isName reports whether it has to be resolved at all.
func (a advertised) isName() bool {
	host, _, err := net.SplitHostPort(a.name)
	_, notIP := netip.ParseAddr(host)
	return a.name != "" && err == nil && notIP != nil
}

// lookUp returns the address behind a name as IP:PORT; the first of several, IPv4 before IPv6, so that it is the same one
// each time.
func lookUp(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	host, service, err := net.SplitHostPort(name)
	if err != nil {
		return "", err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return "", err
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	best := netip.Addr{}
	for _, ip := range all {
		ip = ip.Unmap()
		if !best.IsValid() || cmp.Or(cmp.Compare(ip.BitLen(), best.BitLen()), ip.Compare(best)) < 0 {
			best = ip
		}
	}
	return net.JoinHostPort(best.String(), strconv.Itoa(port)), nil
}

// follow keeps the neighborhood's address that of the name, until ctx ends: it is tried again and again until there is one,
// and then when records change, since a node that moves loses its neighbors. shown is what neighbors are shown now.
func (a advertised) follow(ctx context.Context, shown string, changed <-chan struct{}, show func(string) error, log func(string, error)) {
	retry := &backoff.ExponentialBackOff{
		InitialInterval: time.Second / 2, RandomizationFactor: 0.25, Multiplier: backoff.DefaultMultiplier, MaxInterval: resolveRetry,
	}
	failed := shown == ""
	for {
		wait := resolveAgain
		if failed {
			wait = retry.NextBackOff()
		}
		if !pause(ctx, wait) || !failed && !signaled(ctx, changed) {
			return
		}
		address, err := a.resolve(ctx, a.name)
		if err == nil && address != shown {
			if err = show(address); err == nil {
				log(address, nil)
				shown = address
			}
		}
		if err != nil && !failed && ctx.Err() == nil {
			log("", err)
		}
		if failed = err != nil; !failed {
			retry.Reset()
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func signaled(ctx context.Context, changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

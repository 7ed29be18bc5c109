package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams/identity"
	"github.com/farewell-node/farewell/ui"
)

// DefaultUI is where UIs find a node if nothing is said: the port of MASQ Node v0.9.1.
const DefaultUI = "127.0.0.1:5333"

// ErrConfig is wrapped by every error of [Config.Validate].
var ErrConfig = errors.New("bad configuration")

// Config says what a node is to be. Its zero value is a node with a fresh key that takes no connections, joins nobody
// and has its UI at DefaultUI.
type Config struct {
	Listen    string                    // host:port to accept neighbors on; "": take no connections, have no address
	Advertise string                    // host:port that others dial, a name is resolved again and again; "": where Listen came to be
	UI        string                    // loopback address or unix:PATH for UIs; DefaultUI if empty
	UIToken   string                    // token file for UIs, made on first start; "": they need none
	UIHosts   []string                  // names of reverse proxies that UIs come through; they need a UIToken
	KeyFile   string                    // PEM, made on first start; "": a fresh key that is forgotten at the end. Whom to dial is kept beside it
	Neighbors []neighborhood.Descriptor // nodes to join the network at

	Alarm       time.Duration // how long a shutdown may take; if 0, what systemd allows, or fsm.DefaultAlarm
	InsistAfter time.Duration // the polite part of that; 80 % of it if 0

	Logger *slog.Logger // slog.Default() if nil
}

// Validate reports whether a node can be made of c, as far as that can be said without starting it. Errors wrap
// ErrConfig.
func (c Config) Validate() error {
	if err := c.check(); err != nil {
		return fmt.Errorf("node: %w: %w", ErrConfig, err)
	}
	return nil
}

func (c Config) check() error {
	if _, err := fsm.New(fsm.Config{Alarm: c.Alarm, InsistAfter: c.InsistAfter}); err != nil {
		return err
	}
	for _, name := range c.UIHosts {
		if err := ui.CheckHost(name); err != nil {
			return fmt.Errorf("UI host: %w", err)
		}
	}
	if len(c.UIHosts) > 0 && c.UIToken == "" {
		return fmt.Errorf("UI host %q: a UI that can be reached by other names needs a token file", c.UIHosts[0])
	}
	for i, d := range c.Neighbors {
		if slices.ContainsFunc(c.Neighbors[:i], func(other neighborhood.Descriptor) bool { return other.Key == d.Key }) {
			return fmt.Errorf("neighbor %s is named twice", d.Key)
		}
	}
	if c.Listen == "" {
		if c.Advertise != "" {
			return errors.New("an address to advertise needs one to listen on")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if c.Advertise != "" {
		var port string
		if host, port, err = net.SplitHostPort(c.Advertise); err != nil {
			return fmt.Errorf("advertise: %w", err)
		}
		if port == "" || port == "0" {
			return errors.New("advertise: nobody can dial port 0")
		}
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		return errors.New("nobody can dial an unspecified address: say which one to advertise")
	}
	return nil
}

// sharedUI reports whether other users of the machine can reach the UI.
func (c Config) sharedUI() bool { return c.UIToken == "" && !strings.HasPrefix(c.UI, "unix:") }

func (c Config) withDefaults() Config {
	if c.UI == "" {
		c.UI = DefaultUI
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// advertised returns what others dial, with the port as a number.
func (c Config) advertised(key identity.PublicKey) (advertised, error) {
	a := advertised{resolve: lookUp}
	if c.Advertise == "" {
		return a, nil
	}
	host, service, err := net.SplitHostPort(c.Advertise)
	port := 0
	if err == nil {
		port, err = net.LookupPort("tcp", service)
	}
	if err == nil {
		a.name = net.JoinHostPort(host, strconv.Itoa(port))
		_, err = neighborhood.ParseDescriptor(neighborhood.Descriptor{Key: key, Address: a.name}.String())
	}
	if err != nil {
		return a, fmt.Errorf("node: %w: advertise: %w", ErrConfig, err)
	}
	return a, nil
}

// tryListen binds the address for neighbors for a moment.
func (c Config) tryListen() error {
	if c.Listen == "" {
		return nil
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	return listener.Close()
}

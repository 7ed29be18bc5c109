package neighborhood

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// ErrConfig is wrapped by every error of New.
var ErrConfig = errors.New("bad configuration")

// Config is what a Neighborhood needs to know. Only Identity must be given.
type Config struct {
	// Identity signs the node's record.
	Identity *identity.Identity
	// Neighbors are debuted to on Start, and dialed again whenever they cannot be reached over full neighborships in the
	// node's own map, less and less often: after half a second first, once a minute in the end.
	Neighbors []Descriptor
	// Remembered are full neighbors of an earlier life, as Remember was told of them, the last ones first; at most 20
	// count. They are dialed when the configured ones have had two seconds, one after the other, and as long as they
	// cannot be reached: after half a second first, every five minutes in the end, and no longer than a day. Those that
	// are Neighbors too are taken for these; one that is the node itself is left out.
	Remembered []Descriptor
	// Remember is called with the last full neighbors, the newest first, at most 20 and none that is configured, whenever
	// they change. It must not block, nor call the Neighborhood. May be nil.
	Remember func([]Descriptor)
	// Coalescing is the window within which several changes make one round of gossip; 20 ms if 0.
	Coalescing time.Duration
	// MaxRecords bounds the records held of other nodes; 10,000 if 0. When it is reached, records of nodes that nobody
	// references any more go first; while there are only referenced ones, new nodes are not taken up.
	MaxRecords int
	// FarewellTimeout bounds the withdrawal: what is not written to a neighbor by then has not reached it; 1 s if 0.
	FarewellTimeout time.Duration
	// Changed is called after every change of a record, the own or another's; it must not block, nor call the
	// Neighborhood. May be nil.
	Changed func()
	// Logger takes what is worth a line; nil: nothing is logged. One that is slow loses lines, and holds up only Shutdown.
	Logger *slog.Logger
}

// MaxMessage bounds a frame of gossip, in bytes (docs/gossip.md): no node sends a larger one, and a peer that does is
// hung up on. A Network that refuses larger frames holds less of what strangers send.
const MaxMessage = wire.MaxMessage

const (
	defaultCoalescing      = 20 * time.Millisecond
	defaultMaxRecords      = 10_000
	defaultFarewellTimeout = time.Second
)

func (cfg Config) withDefaults() (Config, error) {
	if err := cfg.check(); err != nil {
		return Config{}, fmt.Errorf("neighborhood: %w: %w", ErrConfig, err)
	}
	cfg.Coalescing = orDefault(cfg.Coalescing, defaultCoalescing)
	cfg.MaxRecords = orDefault(cfg.MaxRecords, defaultMaxRecords)
	cfg.FarewellTimeout = orDefault(cfg.FarewellTimeout, defaultFarewellTimeout)
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Remember == nil {
		cfg.Remember = func([]Descriptor) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

func (cfg Config) check() error {
	if cfg.Identity == nil {
		return errors.New("no Identity")
	}
	if cfg.Coalescing < 0 || cfg.MaxRecords < 0 || cfg.FarewellTimeout < 0 {
		return errors.New("a negative bound")
	}
	seen := map[identity.PublicKey]bool{cfg.Identity.PublicKey(): true}
	for _, d := range cfg.Neighbors {
		if err := checkAddress(d.Address); err != nil {
			return fmt.Errorf("neighbor %s: %w", d.Key, err)
		}
		if seen[d.Key] {
			return fmt.Errorf("neighbor %s: named twice, or this node itself", d.Key)
		}
		seen[d.Key] = true
	}
	return nil
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func (cfg Config) core() core.Config {
	c := core.Config{Identity: cfg.Identity, Window: cfg.Coalescing, MaxRecords: cfg.MaxRecords}
	for _, d := range cfg.Neighbors {
		c.Neighbors = append(c.Neighbors, core.Target(d))
	}
	for _, d := range cfg.Remembered {
		if d.Key != cfg.Identity.PublicKey() && checkAddress(d.Address) == nil {
			c.Remembered = append(c.Remembered, core.Target(d))
		}
	}
	return c
}

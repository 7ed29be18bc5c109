// Package peers has one file per library: how a program is written with it, as its
// documentation says.
package peers

import (
	"context"
	"runtime/debug"
	"time"
)

// Peer is one library.
type Peer struct {
	Name   string
	Module string // whose version the tables name
	// Ordered says that the library can be told what has to be done before what.
	Ordered bool
	// Start has units run under the library, outside of any process-wide thing like
	// signals. What it returns stops them, and returns when the library is done,
	// with what it says of it. deadline is given to the library, or by the units to
	// themselves where it has none.
	Start func(units []Unit, deadline time.Duration) (stop func() error, err error)
	// Main is the whole of a program but for os.Exit: it starts the components, ends
	// them on SIGTERM, or when one dies, and returns the exit code.
	Main func(parts *Parts) int
}

// All are the libraries, in the order of the tables.
var All = []Peer{
	{"fsm", "github.com/farewell-node/farewell", true, startFSM, mainFSM},
	{"fx", "go.uber.org/fx", true, startFx, mainFx},
	{"oklog/run", "github.com/oklog/run", false, startRun, mainRun},
	{"errgroup", "golang.org/x/sync", false, startErrgroup, mainErrgroup},
	{"suture", "github.com/thejerf/suture/v4", false, startSuture, mainSuture},
	{"samber/do", "github.com/samber/do/v2", true, startDo, mainDo},
	{"controller-runtime", "sigs.k8s.io/controller-runtime", false, startController, mainController},
	{"dskit", "github.com/grafana/dskit", true, startDskit, mainDskit},
}

// Find returns the library of that name.
func Find(name string) (Peer, bool) {
	for _, p := range All {
		if p.Name == name {
			return p, true
		}
	}
	return Peer{}, false
}

// Version returns the release that is linked; "" for this project, which is always
// the one around this module.
func (p Peer) Version() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, module := range info.Deps {
		if module.Path == p.Module && module.Replace == nil {
			return module.Version
		}
	}
	return ""
}

// Unit is a thing to be stopped, in the stop table. Units are listed in the order
// in which they can be stopped: those in After come before.
type Unit struct {
	ID    string
	After []string // they must be done before this one begins
	Stop  func(ctx context.Context) error
}

package node

import (
	"context"
	"log/slog"

	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams"
	"github.com/farewell-node/farewell/streams/identity"
	"github.com/farewell-node/farewell/ui"
)

// What a neighbor does, or fails to do, is in the farewells and in the log, and never makes the exit code 4: a supervisor
// would restart a process that did everything right. So the rooms are registered as these components, whose Shutdown
// fails only for what went wrong in this process.
type (
	neighborhoodComponent struct{ *neighborhood.Neighborhood }
	streamsComponent      struct{ *streams.Pool }
)

func (c neighborhoodComponent) Shutdown(ctx context.Context) error {
	return ownFault[*neighborhood.NotReachedError](c.Neighborhood.Shutdown(ctx))
}

func (c streamsComponent) Shutdown(ctx context.Context) error {
	return ownFault[*streams.UnconfirmedError](c.Pool.Shutdown(ctx))
}

// ownFault is nil if err is about neighbors and nothing else. One that wraps such an error tells of more.
func ownFault[AboutNeighbors error](err error) error {
	if _, ok := err.(AboutNeighbors); ok {
		return nil
	}
	return err
}

// farewells joins the neighborhood's list of those it told with what the pool knows of their streams: who closed its end
// after reading ours has confirmed; one whose stream broke, or that had not closed it in time, has not.
func farewells(told []neighborhood.Farewell, ended []streams.Result) []ui.Farewell {
	results := map[identity.PublicKey]streams.Result{}
	for _, r := range ended {
		if results[r.Peer].Outcome != streams.Confirmed { // of several streams with one peer, that one counts
			results[r.Peer] = r
		}
	}
	var all []ui.Farewell
	for _, t := range told {
		f := ui.Farewell{Key: t.Neighbor.String(), Took: ui.Millis(t.Took)}
		f.Outcome, f.Error = outcomeOf(t, results[t.Neighbor])
		all = append(all, f)
	}
	return all
}

func outcomeOf(told neighborhood.Farewell, ended streams.Result) (outcome ui.Told, problem string) {
	switch {
	case told.Left():
		return ui.Left, ""
	case !told.Written():
		return ui.NotReached, told.Err.Error()
	case ended.Outcome == streams.Confirmed:
		return ui.Confirmed, ""
	case ended.Err != nil:
		return ui.NotConfirmed, ended.Err.Error()
	}
	return ui.Written, ""
}

// logFarewells warns of the neighbors that may not know that this node has left.
func logFarewells(log *slog.Logger, all []ui.Farewell) {
	for _, f := range all {
		if f.Outcome == ui.NotConfirmed || f.Outcome == ui.NotReached {
			log.Warn("farewell "+string(f.Outcome), "room", "node", "peer", f.Key, "error", f.Error)
		}
	}
}

package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams"
	"github.com/farewell-node/farewell/streams/identity"
	"github.com/farewell-node/farewell/ui"
)

func TestFarewellsJoinBothRooms(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []struct {
		name    string
		told    error
		ended   []streams.Result
		outcome ui.Told
		problem string
	}{
		{"read", nil, []streams.Result{{Outcome: streams.Confirmed}}, ui.Confirmed, ""},
		{"hung", nil, []streams.Result{{Outcome: streams.Cut, Err: streams.ErrCut}}, ui.NotConfirmed, "cut short"},
		{"broken", nil, []streams.Result{{Outcome: streams.Reset, Err: broken}}, ui.NotConfirmed, "connection reset"},
		{
			"read, and an older stream broken", nil,
			[]streams.Result{{Outcome: streams.Confirmed}, {Outcome: streams.Reset, Err: broken}},
			ui.Confirmed, "",
		},
		{"left at the same moment", nil, []streams.Result{{Outcome: streams.Left}}, ui.Written, ""},
		{"left before", fmt.Errorf("%w", neighborhood.ErrPeerLeft), nil, ui.Left, ""},
		{"full", broken, []streams.Result{{Outcome: streams.Cut, Err: streams.ErrCut}}, ui.NotReached, "connection reset"},
	} {
		all := farewells([]neighborhood.Farewell{{Err: c.told}}, c.ended)
		if len(all) != 1 || all[0].Outcome != c.outcome || all[0].Error != c.problem {
			t.Errorf("%s: %+v", c.name, all)
		}
		var log bytes.Buffer
		logFarewells(slog.New(slog.NewTextHandler(&log, nil)), all)
		if warned := strings.Contains(log.String(), c.problem) && log.Len() > 0; warned != (c.problem != "") {
			t.Errorf("%s: logged %s", c.name, log.String())
		}
	}
	other := []streams.Result{{Peer: identity.PublicKey{1}, Outcome: streams.Confirmed}}
	if all := farewells([]neighborhood.Farewell{{}}, other); all[0].Outcome != ui.Written {
		t.Errorf("another's confirmation counts: %+v", all)
	}
}

// What neighbors do is excused; what goes wrong here as well is not.
func TestOwnFault(t *testing.T) {
	theirs, ours := &streams.UnconfirmedError{}, errors.New("the handler does not return")
	if err := ownFault[*streams.UnconfirmedError](theirs); err != nil {
		t.Error(err)
	}
	for _, err := range []error{nil, ours, errors.Join(ours, theirs)} {
		if got := ownFault[*streams.UnconfirmedError](err); !errors.Is(got, err) || (got == nil) != (err == nil) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

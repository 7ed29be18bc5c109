package remote

import (
	"testing"

	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// link is a wire to the server that can be cut for a while.
type link struct{ *natstest.Link }

func newLink(t testing.TB, to string) *link {
	t.Helper()
	return &link{natstest.NewLink(t, to)}
}

func (l *link) url() string     { return l.URL() }
func (l *link) setCut(cut bool) { l.SetCut(cut) }
func (l *link) breakOff()       { l.BreakOff() }

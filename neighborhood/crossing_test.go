package neighborhood

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A neighbor that leaves at the same moment, and has closed its stream when its turn comes, is no failure; one whose
// stream breaks is.
func TestNeighborThatLeavesMeanwhileNeedNotBeTold(t *testing.T) {
	for _, broken := range []error{nil, errors.New("connection reset")} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeNetwork()
			center, others := star(t, f, 2)
			f.stall(others[0].key)
			center.WithdrawFromNetwork()
			synctest.Wait()
			center.PeerDown(others[0].key, broken)
			time.AfterFunc(2*latency, func() { center.giveUp(errors.New("no such stream")) })
			err := center.Shutdown(t.Context())
			if (err == nil) != (broken == nil) {
				t.Errorf("stream closed with %v: error %v", broken, err)
			}
			for _, w := range center.Withdrawal() {
				if w.Neighbor == others[0].key && (w.Written() || w.Left() != (broken == nil)) {
					t.Errorf("farewell %+v", w)
				}
			}
			shutDown(t, others...)
		})
	}
}

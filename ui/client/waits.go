package client

import (
	"context"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// When a shutdown that goes on is looked at: soon enough for whoever sits before it, and
// then ever more rarely.
const (
	firstWait = time.Second
	mostWait  = 30 * time.Second
)

// waits asks for the status again and again while a shutdown goes on. It belongs to the
// goroutine that follows.
type waits struct {
	client *Client
	pause  time.Duration // until it is asked for next
	timer  *time.Timer
	due    <-chan time.Time
	id     uint64
	answer <-chan wire.Message // nil while none is expected
}

// since returns what sees events, and begins to ask when there is a request.
func (w *waits) since(see func(fsm.Event)) func(fsm.Event) {
	if w.client.waiting == nil {
		return see
	}
	return func(e fsm.Event) {
		if e.Kind == fsm.ShutdownRequested && w.timer == nil {
			w.pause = firstWait
			w.timer = time.NewTimer(w.pause)
			w.due = w.timer.C
		}
		if see != nil {
			see(e)
		}
	}
}

// ask sends the request. That it fails is seen by whoever reads the connection.
func (w *waits) ask(ctx context.Context) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	w.id, w.answer, _ = w.client.begin(ctx, wire.Status, struct{}{})
}

// tell passes the answer on, and asks again later.
func (w *waits) tell(answer wire.Message) {
	w.answer = nil
	var status ui.Status
	if err := decode(answer, &status); err != nil || status.Report == nil || status.Report.State == fsm.Terminated {
		return // a process that does not know; or the end is on its way
	}
	w.client.waiting(&status)
	w.timer.Reset(w.pause)
	w.pause = min(2*w.pause, mostWait)
}

func (w *waits) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.answer != nil {
		w.client.forget(w.id)
	}
}

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// overtime is how long after the alarm a process may still answer: its last
// steps take 250 ms, and a loaded machine adds to that.
const overtime = 5 * time.Second

// Watch calls see, unless that is nil, with every event of the process's log,
// those of the past first, until the machine is terminated, and returns how it
// went. It ends when ctx ends, with ctx's cause, and with [ErrGone] if the process
// goes without a goodbye. It has no deadline but ctx's.
func (c *Client) Watch(ctx context.Context, see func(fsm.Event)) (*ui.Goodbye, error) {
	if _, err := c.startWatch(ctx); err != nil {
		return nil, err
	}
	goodbye, err := c.follow(ctx, nil, see)
	if err != nil {
		return nil, fmt.Errorf("client: watch: %w", err)
	}
	return goodbye, nil
}

// Shutdown asks the process to shut down, calls see as [Client.Watch] does, returns
// how it went, and hangs up. If another shutdown runs already it joins that.
// Without a deadline in ctx it waits until 5 s after the process's own alarm. If
// it ends early, the shutdown goes on.
func (c *Client) Shutdown(ctx context.Context, reason string, see func(fsm.Event)) (*ui.Goodbye, error) {
	alarm, err := c.startWatch(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, alarm+overtime)
		defer cancel()
	}
	goodbye, err := c.shutdown(ctx, reason, see)
	if err != nil {
		return nil, fmt.Errorf("client: shutdown: %w", err)
	}
	return goodbye, c.Close()
}

func (c *Client) shutdown(ctx context.Context, reason string, see func(fsm.Event)) (*ui.Goodbye, error) {
	id, answer, err := c.begin(ctx, wire.Shutdown, struct {
		Reason string `json:"reason"`
	}{reason})
	if err != nil {
		return nil, err
	}
	defer c.forget(id)
	return c.follow(ctx, answer, see)
}

// startWatch returns the alarm of the process.
func (c *Client) startWatch(ctx context.Context) (time.Duration, error) {
	var payload struct {
		Alarm ui.Millis `json:"alarmMs"`
	}
	err := c.Call(ctx, wire.Watch, nil, &payload)
	return time.Duration(payload.Alarm), err
}

// follow shows events until the goodbye, or the answer to a shutdown, is there.
func (c *Client) follow(ctx context.Context, answer <-chan wire.Message, see func(fsm.Event)) (*ui.Goodbye, error) {
	w := &waits{client: c}
	defer w.stop()
	see = w.since(see)
	for {
		select {
		case <-w.due:
			w.ask(ctx)
		case m := <-w.answer:
			w.tell(m)
		case <-c.fed:
			if goodbye, err := c.show(see); goodbye != nil || err != nil {
				return goodbye, err
			}
		case m := <-answer:
			return c.last(m, see)
		case <-ctx.Done():
			return nil, late(ctx)
		case <-c.ended:
			select {
			case m := <-answer:
				return c.last(m, see)
			default:
			}
			if goodbye, err := c.show(see); goodbye != nil || err != nil {
				return goodbye, err
			}
			return nil, c.gone()
		}
	}
}

// last shows the events that came before the answer, and reads it.
func (c *Client) last(answer wire.Message, see func(fsm.Event)) (*ui.Goodbye, error) {
	if _, err := c.show(see); err != nil {
		return nil, err
	}
	var goodbye ui.Goodbye
	if err := decode(answer, &goodbye); err != nil {
		return nil, err
	}
	return &goodbye, nil
}

// show shows what was fed since the last time, and returns the goodbye if that was
// there too.
func (c *Client) show(see func(fsm.Event)) (*ui.Goodbye, error) {
	c.mu.Lock()
	messages := c.feed
	c.feed = nil
	c.mu.Unlock()
	for _, m := range messages {
		if m.Opcode == wire.Goodbye {
			var goodbye ui.Goodbye
			return &goodbye, decode(m, &goodbye)
		}
		var e fsm.Event
		if err := json.Unmarshal(m.Payload, &e); err != nil {
			return nil, err
		}
		if see != nil {
			see(e)
		}
	}
	return nil, nil
}

package page

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm/remote"
)

const (
	retry     = time.Second     // after which the registry is tried again
	silence   = 3 * time.Second // after which a process that leaves is asked how it stands
	askEvery  = time.Second
	askAtOnce = 8 // processes
)

// problem is why the page does not know how things are, for people.
type problem struct {
	mu   sync.Mutex
	text string
}

func (p *problem) say(text string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.text != text
	p.text = text
	return changed
}

func (p *problem) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text
}

// watch keeps the fleet up to date. There is one for all browsers.
func (p *Page) watch() {
	for p.ctx.Err() == nil {
		err := p.watchOnce()
		if p.ctx.Err() != nil {
			return
		}
		if text := explain(err); p.problem.say(text) {
			p.logger.Warn("page: "+text, "error", err)
		}
		select {
		case <-time.After(retry):
		case <-p.ctx.Done():
		}
	}
}

func (p *Page) watchOnce() error {
	p.fleet.beginListing()
	for news, err := range remote.Watch(p.ctx, p.nc, p.config.Group) {
		if err != nil {
			return err
		}
		p.problem.say("")
		if news.Kind == remote.Left {
			p.reports.keep(news.Instance, news.Report)
		}
		p.fleet.tell(news, p.now())
	}
	return p.ctx.Err()
}

func explain(err error) string {
	switch {
	case errors.Is(err, remote.ErrAway):
		return "NATS cannot be reached."
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return "There is no registry yet: nobody has joined."
	}
	return "The registry cannot be watched: " + clip(err.Error())
}

// askTheSilent asks those that leave, and have said nothing for a while, how they
// stand: their events may have been lost, or they may have died.
func (p *Page) askTheSilent() {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
		if !p.isNear() { // nobody could answer
			continue
		}
		var asking sync.WaitGroup
		for _, i := range p.fleet.silent(p.now()-momentOf(silence), askAtOnce) {
			asking.Go(func() { p.askHow(i) })
		}
		asking.Wait()
	}
}

func (p *Page) askHow(i remote.Instance) {
	status, err := remote.Ask(p.ctx, p.nc, i.String())
	switch {
	case err == nil:
		p.fleet.answered(i, &status, p.now())
	case errors.Is(err, remote.ErrUnreachable) && p.isNear():
		p.fleet.answered(i, nil, p.now())
	}
}

// drains are those that were there when it was asked last.
type drains struct {
	mu   sync.Mutex
	last []Drain
}

func (d *drains) set(list []Drain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = list
}

func (d *drains) current() []Drain {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// followDrains asks who drains the groups, while somebody looks.
func (p *Page) followDrains() {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for p.config.Drains != nil {
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
		if p.browsers.count() == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(p.ctx, askEvery)
		if list, err := p.config.Drains(ctx); err == nil { // else it is away, which is shown
			p.drains.set(list)
		}
		cancel()
	}
}

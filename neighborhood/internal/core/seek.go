package core

import (
	"net/netip"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/farewell-node/farewell/streams/identity"
)

// debut is one Debut that waits for its stream or for its answer. It keeps a place among the neighbors.
type debut struct {
	until time.Time
	sent  bool
}

// configured is one neighbor of the configuration, and when it is dialed next.
type configured struct {
	Target
	backoff *backoff.ExponentialBackOff
	next    time.Time
	since   time.Time // since when it is a neighbor; zero: it is not
	passed  bool      // it was there, but had no room
	failed  bool      // to be dialed, since it last was a neighbor
}

func newConfigured(target Target) *configured {
	return &configured{Target: target, backoff: &backoff.ExponentialBackOff{
		InitialInterval: firstRetry,
		Multiplier:      backoff.DefaultMultiplier,
		MaxInterval:     longestRetry,
	}}
}

func (c *Core) configuredFor(key identity.PublicKey) *configured {
	for _, t := range c.configured {
		if t.Key == key {
			return t
		}
	}
	return nil
}

// postpone sets the next attempt. The spread keeps nodes that lost the same neighbor from coming back in step; it is
// taken from the own key, since a core draws no random numbers.
func (t *configured) postpone(now time.Time, self identity.PublicKey) {
	wait := t.backoff.NextBackOff()
	t.next = now.Add(wait*3/4 + wait*time.Duration(self[0])/512)
}

func (t *configured) joined(now time.Time) { t.since, t.passed, t.failed = now, false, false }

// lost begins the waits anew only for a neighborship that has lasted: one that ends at once each time is no better than
// a dial that fails.
func (t *configured) lost(now time.Time, self identity.PublicKey) {
	if now.Sub(t.since) > longestRetry {
		t.backoff.Reset()
	}
	t.since = time.Time{}
	t.postpone(now, self)
}

// wants reports whether a configured neighbor is to be dialed when its time comes. One that had no room is asked again
// only by a node that has nobody: asking a full neighborhood forever would never let it fall silent.
func (c *Core) wants(t *configured) bool {
	if c.peers[t.Key] != nil || c.outstanding[t.Key] != nil || !c.room(t.Key) {
		return false
	}
	return !t.passed || len(c.root.Neighbors)+len(c.outstanding) == 0
}

// wantsNow is wants for a configured neighbor whose stream has just come up by itself.
func (c *Core) wantsNow(key identity.PublicKey) bool {
	t := c.configuredFor(key)
	return t != nil && !t.passed && c.room(key)
}

// seek dials the configured neighbors that are missing, each one at its own intervals.
func (c *Core) seek() {
	for _, t := range c.configured {
		if c.wants(t) && !c.now.Before(t.next) {
			t.postpone(c.now, c.self)
			c.debutTo(t.Target)
		}
	}
}

// debutTo begins a Debut; the caller has seen that there is room.
func (c *Core) debutTo(target Target) {
	c.outstanding[target.Key] = &debut{until: c.now.Add(DialTimeout + answerWait)}
	if p := c.peers[target.Key]; p != nil {
		c.sendDebut(p)
		return
	}
	c.stats.Dials++
	c.out.Dial = append(c.out.Dial, target)
}

func (c *Core) sendDebut(p *peer) {
	c.outstanding[p.key] = &debut{until: c.now.Add(answerWait), sent: true}
	p.debut, p.guestUntil = true, c.now.Add(answerWait)
	c.pump(p)
}

func (c *Core) dialFailed(e DialFailed) {
	c.stats.DialsFailed++
	if c.peers[e.Peer] == nil { // otherwise its own dial won
		delete(c.outstanding, e.Peer)
	}
	note := Note{Text: "dial failed", Peer: e.Peer, Err: e.Err}
	if t := c.configuredFor(e.Peer); t != nil && c.wants(t) {
		note.Retry, note.Another = later(t.next, c.now), t.failed
		t.failed = true
	}
	c.out.Notes = append(c.out.Notes, note)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// expireDebuts gives up what was not answered. The stream then is a guest's whose time is over: closing it tells the
// other side, which may have taken us in.
func (c *Core) expireDebuts() {
	for key, d := range c.outstanding {
		if !c.now.Before(d.until) {
			delete(c.outstanding, key)
		}
	}
}

// follow debuts to where an Introduction or a Pass sent us, if it may be dialed at all.
func (c *Core) follow(key identity.PublicKey, at netip.AddrPort) bool {
	switch {
	case c.root.Lists(key), c.outstanding[key] != nil, !c.room(key):
		return false
	case !c.mayDial(at):
		c.reject(RejectedAddress)
		return false
	case !c.strangers.AllowN(c.now, 1):
		c.reject(RejectedDial)
		return false
	}
	c.debutTo(Target{Key: key, Address: at.String()})
	return true
}

// mayDial keeps others from making us dial our own machine or link, except where we listen there ourselves. An address
// with a zone never is what it says: [::%lo] is dialed as our own machine.
func (c *Core) mayDial(at netip.AddrPort) bool {
	ip := at.Addr().Unmap()
	if at.Port() == 0 || !ip.IsValid() || at.Addr().Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	var own netip.Addr
	if c.address != nil {
		own = c.address.At.Addr().Unmap()
	}
	return (!ip.IsLoopback() || own.IsLoopback()) && (!ip.IsLinkLocalUnicast() || own.IsLinkLocalUnicast())
}

package core

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// debut is one Debut that waits for its stream or for its answer. It keeps a place among the neighbors.
type debut struct {
	until time.Time
	sent  bool
}

// sought is one node that is to be reachable over full neighborships in the own map: a neighbor of the configuration, or
// one that is remembered. As long as it is not, it is dialed, at longer and longer intervals.
type sought struct {
	Target
	configured bool
	backoff    *backoff.ExponentialBackOff
	next       time.Time // when it is dialed next
	reached    bool      // at the last look at the map
	since      time.Time // since when it is, or is not; at first, since the start
	known      bool      // it has been reached in this life
	left       bool      // it said farewell, or was not there for a day, and has not been back since
	failed     bool      // to be dialed, since it was reached last
	passed     bool      // it has sent us elsewhere since it was dialed
	probed     bool      // a dial without a Debut is under way: there is no room yet
}

// How long a node whose part may have lost another waits, and how it spreads the dials of that part: whoever is first
// makes them unnecessary for the rest. What others know of it is up to a second old (changeEvery).
const (
	hearsay  = 2 * time.Second
	spread   = 2 * time.Second
	fullWait = 4 * time.Second // more, if it has no room itself: others of its part may
	dayAway  = 24 * time.Hour  // after which a remembered neighbor is given up
	stagger  = time.Second     // between the first dials of remembered neighbors
	headroom = 2 * time.Second // that the configured neighbors have before them
)

func newSought(target Target, configured bool) *sought {
	longest := longestRetry
	if !configured {
		longest = seldomRetry
	}
	return &sought{Target: target, configured: configured, backoff: &backoff.ExponentialBackOff{
		InitialInterval: firstRetry,
		Multiplier:      backoff.DefaultMultiplier,
		MaxInterval:     longest,
	}}
}

// seekFirst takes what the configuration says.
func (c *Core) seekFirst() {
	for _, target := range c.cfg.Neighbors {
		c.sought = append(c.sought, newSought(target, true))
	}
	for _, target := range c.cfg.Remembered {
		if c.soughtFor(target.Key) == nil && len(c.sought) < len(c.cfg.Neighbors)+maxRemembered {
			c.sought = append(c.sought, newSought(target, false))
		}
	}
}

// startSeeking dials the configured neighbors at once, and the remembered ones one after the other when those have had
// their time: whoever is found first brings a map in which the others need not be dialed.
func (c *Core) startSeeking() {
	next := c.now
	if len(c.cfg.Neighbors) > 0 {
		next = next.Add(headroom)
	}
	for _, t := range c.sought {
		t.since = c.now
		if !t.configured {
			t.next = next
			next = next.Add(stagger)
		}
	}
}

func (c *Core) soughtFor(key identity.PublicKey) *sought {
	for _, t := range c.sought {
		if t.Key == key {
			return t
		}
	}
	return nil
}

// addSought has one more neighbor dialed now, as if it had been configured.
func (c *Core) addSought(target Target) {
	if target.Key == c.self {
		return
	}
	if t := c.soughtFor(target.Key); t != nil && t.configured {
		t.Target, t.left, t.next = target, false, c.now
		t.backoff.Reset()
		return
	}
	c.sought = slices.DeleteFunc(c.sought, func(t *sought) bool { return t.Key == target.Key })
	t := newSought(target, true)
	t.since, t.reached = c.now, c.reaches(target.Key, nil)
	c.sought = slices.Insert(c.sought, 0, t)
}

// postpone sets the next attempt. The spread keeps nodes that lost the same neighbor from coming back in step; it is
// taken from the own key, since a core draws no random numbers.
func (t *sought) postpone(now time.Time, self identity.PublicKey) {
	wait := t.backoff.NextBackOff()
	t.next = later(t.next, now.Add(wait*3/4+wait*time.Duration(self[0])/512))
}

// found is told whether the node can be reached in a new map. The waits begin anew only after a time that has lasted:
// one who is lost at once each time is no better than one who cannot be dialed.
func (c *Core) found(t *sought, reached bool) {
	if t.reached == reached {
		return
	}
	lasted := c.now.Sub(t.since)
	t.reached, t.since = reached, c.now
	if reached {
		t.known, t.left, t.failed = true, false, false
		return
	}
	clear(c.passed) // who had no room may have some now
	if lasted > longestRetry {
		t.backoff.Reset()
	}
	t.next = c.now
	t.postpone(c.now, c.self)
	if len(c.root.Neighbors) > 0 {
		share := time.Duration(binary.BigEndian.Uint16(c.self[:]))
		t.next = later(t.next, c.now.Add(hearsay+spread*share/(1<<16)))
	}
	if len(c.root.Neighbors) >= wire.MaxDegree {
		t.next = t.next.Add(fullWait)
	}
}

// waitForNews gives a new neighbor the time to tell whom it leads to.
func (c *Core) waitForNews() {
	for _, t := range c.sought {
		if !t.reached {
			t.next = later(t.next, c.now.Add(hearsay))
		}
	}
}

// wants reports whether a node is to be dialed when its time comes. A remembered one that has left is not, nor are two
// of them at once.
func (c *Core) wants(t *sought) bool {
	if t.passed && len(c.outstanding) > 0 {
		return false // where it sent us is being tried
	}
	if t.reached || t.probed || c.peers[t.Key] != nil || c.outstanding[t.Key] != nil {
		return false
	}
	return t.matters() && (t.configured || !slices.ContainsFunc(c.sought, func(other *sought) bool {
		return !other.configured && (other.probed || c.outstanding[other.Key] != nil)
	}))
}

// misses reports whether there is anybody to be dialed.
func (c *Core) misses() bool {
	return slices.ContainsFunc(c.sought, func(t *sought) bool { return !t.reached && t.matters() })
}

// matters reports whether the map must lead to a node. It need not to a remembered one that has left.
func (t *sought) matters() bool { return t.configured || !t.left }

// wantsNow is wants for a node whose stream has just come up. If there is no room for it, room is made: now it is known
// to be there.
func (c *Core) wantsNow(key identity.PublicKey) bool {
	t := c.soughtFor(key)
	if t == nil {
		return false
	}
	probed := t.probed
	t.probed = false
	return !t.reached && (probed || t.configured) && (c.room(key) || probed && c.makeRoom())
}

// seek dials those who are missing, each one at its own intervals. Where there is no room it only asks who is there.
func (c *Core) seek() {
	for _, t := range c.sought {
		if !c.wants(t) || c.now.Before(t.next) {
			continue
		}
		if !t.configured && c.now.Sub(t.since) > dayAway {
			t.left = true
			continue
		}
		t.postpone(c.now, c.self)
		t.passed = false
		if c.room(t.Key) {
			c.debutTo(t.Target)
			continue
		}
		t.probed = true
		c.stats.Dials++
		c.out.Dial = append(c.out.Dial, t.Target)
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
	p.debut = true
	if !p.neighbor {
		p.guestUntil = c.now.Add(answerWait)
	}
	c.pump(p)
}

func (c *Core) dialFailed(e DialFailed) {
	c.stats.DialsFailed++
	if c.peers[e.Peer] == nil { // otherwise its own dial won
		delete(c.outstanding, e.Peer)
	}
	note := Note{Text: "dial failed", Peer: e.Peer, Err: e.Err}
	if t := c.soughtFor(e.Peer); t != nil {
		t.probed = false
		if c.wants(t) {
			note.Retry, note.Another = later(t.next, c.now), t.failed || !t.configured
			t.failed = true
		}
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

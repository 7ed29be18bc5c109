package page

import (
	"cmp"
	"container/list"
	"encoding/json"
	"slices"
	"sync"

	"github.com/farewell-node/farewell/fsm/remote"
)

// Bounds of what the page remembers.
const (
	// MaxPresent is how many processes are shown that are there or leave. Those that
	// join after that are only counted.
	MaxPresent = 20_000
	// MaxLeft is how many are remembered that have left, the last ones; those that did
	// so politely are forgotten first.
	MaxLeft = 2_000

	maxRuns    = 4     // under one name, the last ones
	maxDropped = 8_192 // names whose being forgotten is remembered, for browsers that are behind
)

// fleet is what is known of all processes. It does no I/O and reads no clock. Browsers
// are kept up to date by versions: each change has one, and whoever has seen version n
// gets what has changed since. So a browser that is slow has no queue.
type fleet struct {
	maxPresent, maxLeft int

	mu        sync.Mutex
	rows      map[string]*row
	order     *list.List // of *row, the one that changed last in front
	version   uint64     // of the last change
	dropped   []dropping // in the order of their versions
	forgotten uint64     // the version up to which they are not remembered
	present   int
	left      int
	more      map[string]bool // names that are there, and too many
	listed    bool            // once
	listing   map[string]bool // incarnations told since the listing began; nil when it is over
}

// row is what is known under one name.
type row struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	Runs  []*run `json:"runs"` // the newest last

	version uint64
	place   *list.Element
	text    json.RawMessage // as of now; nil if nobody has asked
}

type dropping struct {
	version uint64
	name    string
}

func newFleet() *fleet {
	return &fleet{
		maxPresent: MaxPresent, maxLeft: MaxLeft,
		rows: map[string]*row{}, order: list.New(), more: map[string]bool{}, version: 1, // 0 is that of who knows nothing
	}
}

func (r *row) name() string { return r.Group + "/" + r.Name }

func (r *row) isPresent() bool {
	return slices.ContainsFunc(r.Runs, func(u *run) bool { return u.State.isPresent() })
}

func (r *row) wentWrong() bool {
	return slices.ContainsFunc(r.Runs, func(u *run) bool { return !u.State.isPresent() && u.State != left })
}

// lastWord is when something was heard of a row that has left.
func (r *row) lastWord() (at moment) {
	for _, u := range r.Runs {
		at = max(at, u.Ended, u.Heard)
	}
	return at
}

func (r *row) find(incarnation string) *run {
	for _, u := range r.Runs {
		if u.Incarnation == incarnation {
			return u
		}
	}
	return nil
}

// insert puts a run where it belongs. Who says nothing of when it joined was there
// before whoever is there now.
func (r *row) insert(u *run) {
	at := len(r.Runs)
	for at > 0 {
		before := r.Runs[at-1]
		if u.Born != 0 && before.Born <= u.Born || u.Born == 0 && before.State != running {
			break
		}
		at--
	}
	r.Runs = slices.Insert(r.Runs, at, u)
	if len(r.Runs) > maxRuns {
		r.Runs = slices.Delete(r.Runs, 0, len(r.Runs)-maxRuns)
	}
}

// beginListing is called before a watch tells who is there.
func (f *fleet) beginListing() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listing = map[string]bool{}
}

// tell takes in what a watch tells.
func (f *fleet) tell(news remote.News, now moment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := news.Instance
	switch news.Kind {
	case remote.Listed:
		f.endListing(now)
	case remote.Joined:
		f.joined(i, now)
	case remote.Withdrawn:
		f.fewer(i)
		f.change(i, false, func(u *run) bool { return u.withdrew(now) })
	case remote.Expired:
		f.fewer(i)
		f.change(i, false, func(u *run) bool { return u.vanished(expired, now) })
	case remote.Happened:
		f.change(i, true, func(u *run) bool { return u.happened(news.Event, now) })
	case remote.Left:
		f.change(i, true, func(u *run) bool { u.stands(news.Report, now); return true })
	}
}

func (f *fleet) joined(i remote.Instance, now moment) {
	if f.listing != nil {
		f.listing[i.Incarnation] = true
	}
	r := f.rows[i.String()]
	if r == nil && f.present >= f.maxPresent {
		f.more[i.String()] = true
		f.version++
		return
	}
	isNew := r == nil || r.find(i.Incarnation) == nil
	f.change(i, true, func(u *run) bool {
		switch {
		case isNew && f.listed:
			u.Joined = now
		case isNew: // it was there before
		case u.State == expired, u.State == gone:
			u.State, u.Ended = running, 0 // it had only been silent
		default:
			return false
		}
		return true
	})
	f.replaced(i, now)
}

// fewer: one that is only counted is not there any more.
func (f *fleet) fewer(i remote.Instance) {
	if f.more[i.String()] {
		delete(f.more, i.String())
		f.version++
	}
}

// replaced: those that had the name before and have said nothing of leaving are gone.
func (f *fleet) replaced(by remote.Instance, now moment) {
	r := f.rows[by.String()]
	if r == nil {
		return
	}
	for _, u := range r.Runs[:len(r.Runs)-1] {
		if u.State == running {
			f.update(r, func() bool { return u.vanished(gone, now) })
		}
	}
}

// endListing: whoever was there and is not any more has gone while nobody looked.
func (f *fleet) endListing(now moment) {
	for _, r := range f.rows {
		for _, u := range r.Runs {
			if u.State == running && f.listing != nil && !f.listing[u.Incarnation] {
				f.update(r, func() bool { return u.vanished(gone, now) })
			}
		}
	}
	f.listed, f.listing = true, nil
	f.version++
}

func (u *run) withdrew(now moment) bool {
	if u.Withdrew != 0 || u.Reported {
		return false
	}
	u.Withdrew = now
	if u.State == running {
		u.State, u.Began = withdrawing, now
		u.hear(now)
	}
	return true
}

// vanished: it is in the registry no more, and has not said why. One that leaves has
// no business there.
func (u *run) vanished(how standing, now moment) bool {
	if u.State != running {
		return false
	}
	u.State, u.Ended = how, now
	return true
}

// change has one run changed, which is made if it may be and there is none.
func (f *fleet) change(i remote.Instance, mayMake bool, change func(*run) bool) {
	r := f.rows[i.String()]
	if r == nil && (!mayMake || f.present >= 2*f.maxPresent) {
		return
	}
	if r == nil {
		delete(f.more, i.String()) // it leaves, which is worth more than being there
		r = &row{Group: i.Group, Name: i.Name, Runs: []*run{newRun(i)}}
		f.rows[i.String()], r.place = r, f.order.PushFront(r)
		f.present++ // as one that runs
	}
	f.update(r, func() bool {
		u := r.find(i.Incarnation)
		if u == nil && mayMake {
			u = newRun(i)
			r.insert(u)
		}
		return u != nil && change(u)
	})
}

// update keeps count of a row's change, and gives it a version.
func (f *fleet) update(r *row, change func() bool) {
	was := r.isPresent()
	if !change() {
		return
	}
	switch is := r.isPresent(); {
	case was && !is:
		f.present--
		f.left++
	case is && !was:
		f.present++
		f.left--
	}
	f.version++
	r.version, r.text = f.version, nil
	f.order.MoveToFront(r.place)
	if f.left > f.maxLeft+f.maxLeft/8 {
		f.forget()
	}
}

// forget makes room: the politest and the longest gone first.
func (f *fleet) forget() {
	leftRows := make([]*row, 0, f.left)
	for _, r := range f.rows {
		if !r.isPresent() {
			leftRows = append(leftRows, r)
		}
	}
	slices.SortFunc(leftRows, func(a, b *row) int {
		return cmp.Or(order(a.wentWrong())-order(b.wentWrong()), cmp.Compare(a.lastWord(), b.lastWord()))
	})
	for _, r := range leftRows[:len(leftRows)-f.maxLeft] {
		delete(f.rows, r.name())
		f.order.Remove(r.place)
		f.left--
		f.version++
		f.dropped = append(f.dropped, dropping{f.version, r.name()})
	}
	if over := len(f.dropped) - maxDropped; over > 0 {
		f.forgotten = f.dropped[over-1].version
		f.dropped = slices.Delete(f.dropped, 0, over)
	}
}

// changes is what a browser has to be told.
type changes struct {
	reset   bool // it forgets what it knows
	rows    []json.RawMessage
	dropped []string
	listed  bool
	more    int
}

// since returns what has changed since a version, 0 for everything, and the version
// that it leads to. Nothing has if that is the same.
func (f *fleet) since(seen uint64) (c changes, version uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seen == f.version {
		return changes{}, seen
	}
	c.reset = seen == 0 || seen < f.forgotten
	c.listed, c.more = f.listed, len(f.more)
	for e := f.order.Front(); e != nil; e = e.Next() {
		r := e.Value.(*row)
		if r.version <= seen && !c.reset {
			break
		}
		c.rows = append(c.rows, r.json())
	}
	slices.Reverse(c.rows)
	for _, d := range f.dropped {
		if d.version > seen && !c.reset {
			c.dropped = append(c.dropped, d.name)
		}
	}
	return c, f.version
}

func (r *row) json() json.RawMessage {
	if r.text == nil {
		r.text, _ = json.Marshal(r) // strings, numbers and times
	}
	return r.text
}

// silent are those that leave and have said nothing for a while, at most so many,
// those first that have been silent longest.
func (f *fleet) silent(since moment, most int) (silent []remote.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	heard := map[string]moment{}
	for _, r := range f.rows {
		for _, u := range r.Runs {
			if u.State.isLeaving() && u.Heard < since && u.asked < since {
				i := remote.Instance{Group: r.Group, Name: r.Name, Incarnation: u.Incarnation}
				heard[u.Incarnation] = max(u.Heard, u.asked)
				silent = append(silent, i)
			}
		}
	}
	slices.SortFunc(silent, func(a, b remote.Instance) int {
		return cmp.Compare(heard[a.Incarnation], heard[b.Incarnation])
	})
	return silent[:min(most, len(silent))]
}

// answered takes in how a process stands that was asked because it was silent. With
// no status it has not answered.
func (f *fleet) answered(i remote.Instance, status *remote.Status, now moment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(i, false, func(u *run) bool {
		u.asked = now
		switch {
		case !u.State.isLeaving():
			return false
		case status == nil:
			u.asks++
			u.Silent = u.asks >= asksInVain
			if u.asks >= asksUntilGone {
				u.State, u.Ended = gone, now
			}
		case status.Instance.Incarnation != i.Incarnation: // somebody else has its name now
			u.State, u.Ended = gone, now
		case status.Report != nil:
			u.stands(status.Report, now)
		}
		return true
	})
}

const (
	asksInVain    = 2  // from then on it does not answer
	asksUntilGone = 10 // and from then on nobody thinks that it will
)

// knows reports whether a run is known, so that its report may be asked for.
func (f *fleet) knows(i remote.Instance) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rows[i.String()]
	return r != nil && r.find(i.Incarnation) != nil
}

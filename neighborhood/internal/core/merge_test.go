package core

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// owners are those whose records are merged; each may sign several stories under one version.
var owners = []*actor{newActor(21), newActor(22), newActor(23)}

func drawRecord(t *rapid.T) *wire.Record {
	owner := rapid.SampledFrom(owners).Draw(t, "owner")
	version := rapid.Uint64Range(1, 3).Draw(t, "version")
	story := identity.PublicKey{rapid.ByteRange(1, 3).Draw(t, "story")}
	return wire.SignRecord(owner.Identity, version, 0, []identity.PublicKey{story})
}

// best is what the rules say must remain of one owner: the highest version, of that the greatest hash.
func best(records []*wire.Record, owner identity.PublicKey) *wire.Record {
	var best *wire.Record
	for _, r := range records {
		if r.Key == owner && (best == nil || r.Compare(best) > 0) {
			best = r
		}
	}
	return best
}

// TestMergeIsCommutativeAssociativeIdempotent tells the same records in two orders, cut into messages in two ways, some
// of them twice, by two neighbors, with and without waiting: both nodes know the same in the end.
func TestMergeIsCommutativeAssociativeIdempotent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 12).Draw(rt, "records")
		for _, name := range []string{"one", "other"} {
			s := newStage(t, time.Duration(rapid.IntRange(0, 20).Draw(rt, "window"))*time.Millisecond)
			a, b := newActor(1), newActor(2)
			s.join(a, b)
			told := rapid.Permutation(records).Draw(rt, name)
			told = append(slices.Clone(told), told[:rapid.IntRange(0, len(told)).Draw(rt, "again")]...)
			for len(told) > 0 {
				n := rapid.IntRange(1, len(told)).Draw(rt, "together")
				s.tells(rapid.SampledFrom([]*actor{a, b}).Draw(rt, "by"), told[:n]...)
				told = told[n:]
				s.after(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "wait")) * time.Millisecond)
			}
			s.after(2 * time.Second)
			for _, owner := range owners {
				want, got := best(records, owner.key()), s.core.Held(owner.key())
				if (want == nil) != (got == nil) || want != nil && want.Compare(got) != 0 {
					rt.Errorf("%s: of %v it holds %+v, want %+v", name, owner.key(), got, want)
				}
			}
		}
	})
}

// TestCompareIsATotalOrder is what the above rests on.
func TestCompareIsATotalOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		owner := owners[0]
		draw := func(name string) *wire.Record {
			return rapid.Custom(func(t *rapid.T) *wire.Record {
				story := identity.PublicKey{rapid.ByteRange(1, 5).Draw(t, "story")}
				version := rapid.Uint64Range(1, 2).Draw(t, "version")
				return wire.SignRecord(owner.Identity, version, 0, []identity.PublicKey{story})
			}).Draw(rt, name)
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		if sign(a.Compare(b)) != -sign(b.Compare(a)) {
			rt.Error("not antisymmetric")
		}
		if a.Compare(b) >= 0 && b.Compare(c) >= 0 && a.Compare(c) < 0 {
			rt.Error("not transitive")
		}
	})
}

func sign(n int) int { return max(-1, min(1, n)) }

func TestEquivocationIsCountedAndDecidedAlike(t *testing.T) {
	far := newActor(9)
	far.version = 5
	one := wire.SignRecord(far.Identity, 5, 0, []identity.PublicKey{{1}})
	two := wire.SignRecord(far.Identity, 5, 0, []identity.PublicKey{{2}})
	var held []*wire.Record
	for _, order := range [][]*wire.Record{{one, two}, {two, one}} {
		s := newStage(t, 0)
		a := newActor(1)
		s.join(a)
		for _, r := range order {
			s.tells(a, r)
			s.after(2 * time.Second)
		}
		held = append(held, s.core.Held(far.key()))
		if got := s.core.View().Stats.Equivocations; got != 1 {
			t.Errorf("%d equivocations counted, want 1", got)
		}
	}
	if held[0].Compare(held[1]) != 0 {
		t.Error("which story is kept depends on which came first")
	}
}

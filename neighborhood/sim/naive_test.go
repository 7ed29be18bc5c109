package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// naively leaves as a neighborhood does that gossips once for every stream it removes: to those who are left.
func naively(id *identity.Identity, version uint64, neighbors []identity.PublicKey,
	send func(to identity.PublicKey, frame []byte),
) {
	for left := slices.Clone(neighbors); len(left) > 0; {
		left = left[1:]
		version++
		record := wire.SignRecord(id, version, 0, left)
		frame := wire.Message{Kind: wire.Standard, Entries: []wire.Entry{{Record: record}}}.Encode()
		for _, to := range left {
			send(to, frame)
		}
	}
}

// TestTheNaiveWay leaves real cores in both ways, and looks at what they know afterwards.
func TestTheNaiveWay(t *testing.T) {
	for n := range wire.MaxDegree + 1 {
		leaver := identity.FromSeed([32]byte{0xee})
		neighbors := make(map[identity.PublicKey]*core.Core)
		var keys []identity.PublicKey
		for i := range n {
			keys = append(keys, identity.FromSeed([32]byte{byte(i + 1)}).PublicKey())
		}
		slices.SortFunc(keys, identity.PublicKey.Compare)
		old := wire.SignRecord(leaver, 1000, 0, keys)
		for i := range n {
			id := identity.FromSeed([32]byte{byte(i + 1)})
			root := wire.SignRecord(id, 1000, 0, []identity.PublicKey{leaver.PublicKey()})
			neighbors[id.PublicKey()] = core.Settled(core.Config{Identity: id, MaxRecords: 100}, epoch, root, nil,
				[]*wire.Record{old}, []*wire.Address{wire.SignAddress(leaver, 1, (&node{}).at)})
		}
		messages := 0
		naively(leaver, 1000, keys, func(to identity.PublicKey, frame []byte) {
			messages++
			neighbors[to].Step(epoch.Add(time.Duration(messages)*2*time.Second),
				core.Frame{Peer: leaver.PublicKey(), Bytes: frame})
		})
		if want := n * (n - 1) / 2; messages != want {
			t.Errorf("%d neighbors: %d messages, want %d", n, messages, want)
		}
		heard := 0
		for _, c := range neighbors {
			if !c.Root().Lists(leaver.PublicKey()) {
				heard++
			}
		}
		if heard != 0 {
			t.Errorf("%d of %d neighbors heard of their own removal", heard, n)
		}
		t.Logf("%d neighbors: %d messages at once, or %d one by one, of which nobody learns that it was left", n, n, messages)
	}
}

func TestDeltasWeighLessThanFullState(t *testing.T) {
	r, err := Run(t.Context(), Config{Nodes: 40, Seed: 1, Leavers: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Events {
		if e.FullState < 3*e.Bytes {
			t.Errorf("%s: %d bytes, with everything in each message %d", e.Name, e.Bytes, e.FullState)
		}
	}
	t.Logf("\n%v", r)
}

// BenchmarkLeaving1000 is one withdrawal in a settled network of 1,000, until all is checked. It must take less than
// 5 s of real time; making the network is not counted.
func BenchmarkLeaving1000(b *testing.B) {
	var leaves []time.Duration
	for b.Loop() {
		b.StopTimer()
		s := newSimulation(Config{Nodes: 1000, Seed: 1, Leavers: 1})
		s.raise(b.Context())
		b.StartTimer()
		begun := time.Now()
		s.happen(b.Context(), s.plan()[0])
		leaves = append(leaves, time.Since(begun))
		if err := s.result.Err(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(leaves)
	b.ReportMetric(leaves[len(leaves)/2].Seconds(), "s/leave-median")
}

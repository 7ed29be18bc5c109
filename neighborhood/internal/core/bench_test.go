package core

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// BenchmarkMerge1000 is a Standard of 1,000 new records beside the check of as many signatures alone, and the same
// message again. The floors: 1.3 times the checks when new, a tenth of them when known.
func BenchmarkMerge1000(b *testing.B) {
	a := newActor(1)
	self := identity.FromSeed([32]byte{0xff})
	root := wire.SignRecord(self, 1, 0, []identity.PublicKey{a.key()})
	theirs := a.lists(self.PublicKey())
	records := make([]*wire.Record, wire.MaxEntries)
	entries := make([]wire.Entry, len(records))
	for i := range records {
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], uint64(i+1000))
		id := identity.FromSeed(seed)
		records[i] = wire.SignRecord(id, 1, 0, []identity.PublicKey{{1}, {2}, {3}, {4}})
		entries[i] = wire.Entry{Record: records[i]}
	}
	frame := Frame{Peer: a.key(), Bytes: wire.Message{Kind: wire.Standard, Entries: entries}.Encode()}

	var merges, checks, again []time.Duration
	for b.Loop() {
		c := Settled(Config{Identity: self, Window: time.Second, MaxRecords: 10_000}, epoch, root, nil,
			[]*wire.Record{theirs}, []*wire.Address{wire.SignAddress(a.Identity, 1, a.at)})
		checks = append(checks, timed(func() {
			for _, r := range records {
				if !r.Verify() {
					b.Fatal("a good signature is refused")
				}
			}
		}))
		merges = append(merges, timed(func() { c.Step(epoch, frame) }))
		again = append(again, timed(func() { c.Step(epoch, frame) }))
		if c.Known() != len(records)+1 {
			b.Fatalf("%d records known", c.Known())
		}
	}
	merge, check, known := median(merges), median(checks), median(again)
	b.ReportMetric(float64(merge)/float64(check), "×checks-new")
	b.ReportMetric(float64(known)/float64(check), "×checks-known")
}

func timed(f func()) time.Duration {
	begun := time.Now()
	f()
	return time.Since(begun)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

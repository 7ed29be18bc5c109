package neighborhood

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

func TestNetworkGrowsAndFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		all := []*node{f.start(t, 100)}
		for i := range 19 {
			all = append(all, f.start(t, byte(i+1), all[0].descriptor))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		f.forget()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, n := range all {
			if sent := f.sent(n.key); len(sent) != 0 {
				t.Errorf("still talks: %v", sent)
			}
			s := n.Snapshot()
			if len(s.Records) != len(all)-1 || len(s.Neighbors) > 5 || len(s.Neighbors) == 0 {
				t.Errorf("%d records, %d neighbors", len(s.Records), len(s.Neighbors))
			}
			for _, nb := range s.Neighbors {
				if !nb.Full {
					t.Error("a half-neighborship that never became full")
				}
			}
		}
		if stage := all[19].Snapshot().Stage(); stage != RouteFound {
			t.Errorf("stage %s in a network of 20", stage)
		}
		shutDown(t, all...)
	})
}

func TestUnreachableNeighborIsLoggedAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		missing := f.add(t, 9)
		f.vanish(missing)
		var log bytes.Buffer
		id := identity.FromSeed([32]byte{1})
		n, err := New(Config{
			Identity: id, Neighbors: []Descriptor{missing.descriptor},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		here := &node{Neighborhood: n, net: f, key: id.PublicKey()}
		f.keys[here.key] = here
		if err := n.Start(here, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if stage := n.Snapshot().Stage(); stage != NotConnected {
			t.Errorf("stage %s", stage)
		}
		f.mutex.Lock()
		f.nodes[missing.descriptor.Address] = missing
		f.mutex.Unlock()
		if err := missing.Start(missing, missing.descriptor.Address); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if stage := n.Snapshot().Stage(); stage != ConnectedToNeighbor {
			t.Errorf("stage %s after it has come up", stage)
		}
		shutDown(t, here, missing)
		if got := strings.Count(log.String(), "dial failed"); got < 3 || got > 6 {
			t.Errorf("%d failures logged in 3 s:\n%s", got, log.String())
		}
		warned := false
		for line := range strings.Lines(log.String()) {
			if !strings.Contains(line, "dial failed") {
				continue
			}
			if !strings.Contains(line, `"retry in"=`) || strings.Contains(line, "level=WARN") == warned {
				t.Errorf("want when it is tried again, and a warning the first time: %s", line)
			}
			warned = true
		}
	})
}

func TestRestartUnderTheOldKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		center, others := star(t, f, 3)
		f.vanish(others[1])
		shutDown(t, others[1])
		again := f.start(t, 2, center.descriptor)
		settle()
		for _, n := range []*node{center, others[0], others[2]} {
			for _, r := range n.Snapshot().Records {
				if r.Key == again.key && (r.Version != again.Snapshot().Version || len(r.HalfNeighbors) == 0) {
					t.Errorf("knows of the restarted node: %+v", r)
				}
			}
		}
		shutDown(t, center, others[0], again, others[2])
	})
}

func TestSnapshotMarshals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		center, others := star(t, f, 2)
		s := center.Snapshot()
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Snapshot
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if *back.Descriptor != *s.Descriptor || back.DOT() != s.DOT() || len(back.Gossip) != 2 {
			t.Errorf("came back as %+v", back)
		}
		shutDown(t, append(others, center)...)
	})
}

func TestMaxMessageIsWhatIsRefusedAsTooBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		center, others := star(t, f, 2)
		center.Frame(others[0].key, make([]byte, MaxMessage))
		center.Frame(others[1].key, make([]byte, MaxMessage+1))
		got := center.Snapshot().Counters.Rejected
		if got["undecodable"] != 1 || got["too big"] != 1 {
			t.Errorf("rejected %v", got)
		}
		shutDown(t, append(others, center)...)
	})
}

func TestDOT(t *testing.T) {
	a, b, c := identity.PublicKey{1}, identity.PublicKey{2}, identity.PublicKey{3}
	s := Snapshot{
		Key: a, Version: 7, Neighbors: []Neighbor{{Key: b}},
		Records: []Record{{Key: b, Version: 3, HalfNeighbors: []identity.PublicKey{a, c}}},
	}
	as, bs, cs := a.String(), b.String(), c.String()
	want := `digraph db { "` + as + `" [label="v7\n` + as[:8] + `"] [style=filled]; "` + bs + `" [label="v3\n` + bs[:8] +
		`"]; "` + cs + `" [label="` + cs[:8] + `"] [shape=none]; "` + as + `" -> "` + bs + `"; "` + bs + `" -> "` + as +
		`"; "` + bs + `" -> "` + cs + `"; }`
	if got := s.DOT(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestConfig(t *testing.T) {
	id := identity.FromSeed([32]byte{1})
	other := Descriptor{Key: identity.FromSeed([32]byte{2}).PublicKey(), Address: "192.0.2.1:1"}
	for name, cfg := range map[string]Config{
		"no identity":    {},
		"negative":       {Identity: id, Coalescing: -1},
		"named twice":    {Identity: id, Neighbors: []Descriptor{other, other}},
		"itself":         {Identity: id, Neighbors: []Descriptor{{Key: id.PublicKey(), Address: "192.0.2.1:1"}}},
		"no address":     {Identity: id, Neighbors: []Descriptor{{Key: other.Key}}},
		"negative bound": {Identity: id, MaxRecords: -1},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStartRefusesAddressesThatNobodyCanDial(t *testing.T) {
	for _, address := range []string{"example.org:80", "0.0.0.0:80", "192.0.2.1", "192.0.2.1:0", "224.0.0.1:80", "[fe80::1%x]:80"} {
		n, err := New(Config{Identity: identity.FromSeed([32]byte{1})})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(nil, address); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestDescriptor(t *testing.T) {
	key := identity.FromSeed([32]byte{1}).PublicKey().String()
	for _, good := range []string{"farewell://" + key + "@127.0.0.1:5000", "farewell://" + key + "@[::1]:1", "farewell://" + key + "@node-1.example.org:65535"} {
		d, err := ParseDescriptor(good)
		if err != nil || d.String() != good {
			t.Errorf("%s: %v, %v", good, d, err)
		}
	}
	for _, bad := range []string{
		"", "farewell://", key + "@127.0.0.1:5000", "farewell://" + key, "farewell://" + key + "@", "farewell://x@127.0.0.1:5000",
		"farewell://" + key + "@127.0.0.1", "farewell://" + key + "@127.0.0.1:0", "farewell://" + key + "@127.0.0.1:65536",
		"farewell://" + key + "@:5000", "farewell://" + key + "@0.0.0.0:5000", "farewell://" + key + "@a b:5000",
		"farewell://" + key + "@host:05", "farewell://" + key + "@host:http", "farewell://" + key + "@127.0.0.1:5000/x",
		"farewell://" + key + "@[::%lo]:5000", "farewell://" + key + "@[fe80::1%eth0]:5000",
		"farewell://" + key + "@[::ffff:0.0.0.0]:5000",
	} {
		if _, err := ParseDescriptor(bad); !errors.Is(err, ErrBadDescriptor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

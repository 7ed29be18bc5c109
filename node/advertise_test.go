package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/streams/identity"
)

// A name that does not resolve yet is tried again and again; one that does is resolved again when records change, and
// shown only when it has moved.
func TestAnAdvertisedNameIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[int]string{3: "192.0.2.1:4000", 4: "192.0.2.1:4000", 6: "192.0.2.2:4000"}
		asked := 0
		a := advertised{name: "node.example:4000", resolve: func(context.Context, string) (string, error) {
			asked++
			if answers[asked] == "" {
				return "", errors.New("no such host")
			}
			return answers[asked], nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var shown []string
		warned := 0
		changed := make(chan struct{}, 1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.follow(ctx, "", changed, func(address string) error { shown = append(shown, address); return nil }, func(_ string, err error) {
				if err != nil {
					warned++
				}
			})
		}()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if asked != 3 || !slices.Equal(shown, []string{"192.0.2.1:4000"}) || warned != 0 {
			t.Fatalf("asked %d times, shown %v, warned %d times", asked, shown, warned)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if asked != 3 {
			t.Fatalf("asked %d times, though nothing has changed", asked)
		}
		changed <- struct{}{} // and nothing has moved
		synctest.Wait()
		time.Sleep(2 * resolveAgain)
		changed <- struct{}{} // fails, and is tried again
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if asked != 6 || warned != 1 || !slices.Equal(shown, []string{"192.0.2.1:4000", "192.0.2.2:4000"}) {
			t.Errorf("asked %d times, warned %d times, shown %v", asked, warned, shown)
		}
		cancel()
		<-done
	})
}

func TestWhatIsAdvertised(t *testing.T) {
	key := identity.FromSeed([32]byte{1}).PublicKey()
	for advertise, want := range map[string]struct {
		name   string
		isName bool
	}{
		"node.example:4000": {"node.example:4000", true},
		"192.0.2.1:4000":    {"192.0.2.1:4000", false},
		"[2001:db8::1]:80":  {"[2001:db8::1]:80", false},
		"localhost:http":    {"localhost:80", true},
	} {
		a, err := Config{Advertise: advertise}.advertised(key)
		if err != nil || a.name != want.name || a.isName() != want.isName {
			t.Errorf("%s: %q, a name: %v, %v", advertise, a.name, a.isName(), err)
		}
	}
	for _, bad := range []string{"no host!:1", "node.example:99999", "node.example"} {
		if _, err := (Config{Advertise: bad}).advertised(key); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if address, err := lookUp(t.Context(), "127.0.0.1:80"); address != "127.0.0.1:80" || err != nil {
		t.Error(address, err)
	}
}

// The name stays in the descriptor, whether it resolves or not.
func TestTheNameStaysInTheDescriptor(t *testing.T) {
	n, err := Start(Config{Listen: "127.0.0.1:0", Advertise: "does-not-exist.invalid:4000", UI: "127.0.0.1:0", Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := n.Descriptor()
	if want := "@does-not-exist.invalid:4000"; len(got) < len(want) || got[len(got)-len(want):] != want {
		t.Errorf("descriptor %s", got)
	}
	n.Orchestrator().Request(fsmCommand())
	n.Wait()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func fsmCommand() fsm.Command { return fsm.Command{Reason: "the test is over"} }

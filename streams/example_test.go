package streams_test

import (
	"context"
	"fmt"
	"log"

	"github.com/farewell-node/farewell/streams"
	"github.com/farewell-node/farewell/streams/identity"
)

// chat is an application of its own: it says goodbye when the pool tells it that the process is leaving.
type chat struct {
	name string
	pool *streams.Pool
	peer identity.PublicKey
	left chan struct{} // closed when the peer has left
}

func (c *chat) PeerUp(identity.PublicKey) {}

func (c *chat) Frame(_ identity.PublicKey, frame []byte) { fmt.Printf("%s hears: %s\n", c.name, frame) }

func (c *chat) PeerDown(_ identity.PublicKey, err error) {
	fmt.Printf("%s: the other is gone, error: %v\n", c.name, err)
	close(c.left)
}

func (c *chat) WithdrawFromNetwork() {
	_ = c.pool.Send(c.peer, []byte("farewell")) // if the other is still there
}

func newChat(name string, seed byte) (*chat, identity.PublicKey) {
	self := identity.FromSeed([32]byte{seed}) // a real node uses identity.LoadOrCreate
	c := &chat{name: name, left: make(chan struct{})}
	var err error
	c.pool, err = streams.New(streams.Config{Identity: self, Handler: c, Withdrawer: c})
	if err != nil {
		log.Fatal(err)
	}
	return c, self.PublicKey()
}

// Two pools talk; one leaves. What it sent last arrives before its end does.
func Example() {
	ctx := context.Background()
	alice, aliceKey := newChat("Alice", 1)
	bob, bobKey := newChat("Bob", 2)
	alice.peer, bob.peer = bobKey, aliceKey

	address, err := bob.pool.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	if err := alice.pool.Dial(ctx, bobKey, address.String()); err != nil {
		log.Fatal(err)
	}
	if err := alice.pool.Send(bobKey, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	if err := alice.pool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	<-bob.left
	for _, result := range alice.pool.Results() {
		fmt.Printf("Alice's stream with Bob: %s, %d bytes unwritten\n", result.Outcome, result.Traffic.Unwritten())
	}
	if err := bob.pool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// Bob hears: hello
	// Bob hears: farewell
	// Bob: the other is gone, error: <nil>
	// Alice: the other is gone, error: <nil>
	// Alice's stream with Bob: confirmed, 0 bytes unwritten
}

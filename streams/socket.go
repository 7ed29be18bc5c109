package streams

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// transport is what a stream needs of a TCP connection.
type transport interface {
	net.Conn
	CloseWrite() error
}

// socket is a TCP connection under TLS. It knows what crypto/tls does not tell: whether the peer's end came without a
// close_notify, as it does when its process was killed.
type socket struct {
	transport
	truncated bool        // a read returned EOF: TLS reads nothing after close_notify. The reader's alone.
	disarm    func() bool // false if ctx has closed the socket
}

// newSocket wraps a connection that is closed when ctx ends, until it is disarmed.
func newSocket(ctx context.Context, conn transport) *socket {
	return &socket{transport: conn, disarm: context.AfterFunc(ctx, func() { _ = conn.Close() })}
}

// SetWriteDeadline does nothing: crypto/tls gives close_notify five seconds, whatever the deadline on the connection says,
// and forbids writing after it, which nobody does.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

func (s *socket) Read(buffer []byte) (int, error) {
	n, err := s.transport.Read(buffer)
	if errors.Is(err, io.EOF) {
		s.truncated = true
	}
	return n, err
}

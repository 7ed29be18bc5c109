package streams

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// socket is a TCP connection under TLS. It knows what crypto/tls does not tell: whether the peer's end came without a
// close_notify, as it does when its process was killed.
type socket struct {
	*net.TCPConn
	truncated bool        // a read returned EOF: TLS reads nothing after close_notify. The reader's alone.
	disarm    func() bool // false if ctx has closed the socket
}

// newSocket wraps a connection that is closed when ctx ends, until it is disarmed.
func newSocket(ctx context.Context, conn *net.TCPConn) *socket {
	return &socket{TCPConn: conn, disarm: context.AfterFunc(ctx, func() { _ = conn.Close() })}
}

// SetWriteDeadline does nothing: crypto/tls gives close_notify five seconds, whatever the deadline on the TCPConn says,
// and forbids writing after it, which nobody does.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

func (s *socket) Read(buffer []byte) (int, error) {
	n, err := s.TCPConn.Read(buffer)
	if errors.Is(err, io.EOF) {
		s.truncated = true
	}
	return n, err
}

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
)

var (
	// ErrBadAddress: nothing can be dialed at such an address.
	ErrBadAddress = errors.New("not a port from 1 to 65535, HOST:PORT, a ws or http URL, or unix:PATH")
	// ErrNobodyThere: nothing listens at the address; the process is gone, or
	// was never there.
	ErrNobodyThere = errors.New("nobody there")
	// ErrWedged: something listens at the address, or has, but does not answer in
	// time.
	ErrWedged = errors.New("no answer in time")
	// ErrGone: the connection ended before the answer came.
	ErrGone = errors.New("the connection ended")
	// ErrTooLong: the process has not read the request, because it is longer than
	// 64 KiB, and has ended the connection. It goes on.
	ErrTooLong = errors.New("the request is longer than the process takes")
	// ErrRefused: something listens at the address, but does not let this client
	// in, or does not speak MASQNode-UIv2.
	ErrRefused = errors.New("refused")
)

// Error is an answer that says no.
type Error struct {
	Code    uint64 // of the protocol; it fits no int64
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("the answer is error %#x: %s", e.Code, e.Message) }

func isTimeout(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// errLate is ErrWedged, and a deadline that was exceeded, which says the same.
var errLate error = lateError{}

type lateError struct{}

func (lateError) Error() string   { return ErrWedged.Error() }
func (lateError) Unwrap() []error { return []error{ErrWedged, context.DeadlineExceeded} }

// late says why a wait was given up: somebody cancelled it, or time was over.
func late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errLate
	}
	return context.Cause(ctx)
}

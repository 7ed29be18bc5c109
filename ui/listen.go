package ui

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrNotLoopback refuses an address that others could reach.
var ErrNotLoopback = errors.New("not a loopback address")

// ErrInUse refuses an address that somebody listens on already.
var ErrInUse = errors.New("somebody listens there already")

// Listen binds the gateway to a TCP address of this machine ("127.0.0.1:5333",
// "[::1]:5333", "5333" for a port of 127.0.0.1, or "localhost:0" for one on both of
// these), which every user of the machine can reach, or to a Unix socket ("unix:PATH"),
// which none but its owner can: its mode is 0600. What is left of a socket that nobody
// listens on any more is replaced. The error wraps [ErrNotLoopback] or [ErrInUse] if it
// is that.
//
// It returns the address bound, or the first one. UIs can connect from then on; they are
// served as soon as [Gateway.Run] runs. It can be called once, before Run.
func (g *Gateway) Listen(address string) (net.Addr, error) {
	listen, where := listenTCP, address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		listen, where = listenUnix, path
	}
	listeners, err := listen(where)
	if isInUse(err) {
		err = fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err != nil {
		return nil, fmt.Errorf("ui: listen on %q: %w", address, err)
	}
	g.listeners = listeners
	g.closeListener = func() error { return closeAll(listeners) }
	return listeners[0].Addr(), nil
}

func closeAll(listeners []net.Listener) (err error) {
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

func listenTCP(address string) ([]net.Listener, error) {
	if address != "" && strings.Trim(address, "0123456789") == "" { // as clients take it
		address = net.JoinHostPort("127.0.0.1", address)
	}
	if host, port, err := net.SplitHostPort(address); err == nil && isLocalhost(host) {
		return listenLocalhost(port)
	}
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !resolved.IP.IsLoopback() {
		return nil, ErrNotLoopback
	}
	listener, err := net.ListenTCP("tcp", resolved)
	return []net.Listener{listener}, err
}

// portTries is how many ports are tried for one that is free on both addresses.
const portTries = 20

// listenLocalhost binds both addresses of localhost to the same port: a UI may try
// either, or only one. Where a machine has but one of them, that is enough.
func listenLocalhost(port string) (listeners []net.Listener, err error) {
	for range portTries {
		if listeners, err = listenBoth(port); port != "0" || !isInUse(err) {
			break
		}
	}
	return listeners, err
}

func listenBoth(port string) (listeners []net.Listener, err error) {
	var missing error
	for _, host := range []string{"127.0.0.1", "::1"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
		switch {
		case err == nil:
			_, port, _ = net.SplitHostPort(listener.Addr().String())
			listeners = append(listeners, listener)
		case isMissing(err):
			missing = err
		default:
			_ = closeAll(listeners)
			return nil, err
		}
	}
	if len(listeners) == 0 {
		return nil, missing
	}
	return listeners, nil
}

// unixListener is bound under another name than its own.
type unixListener struct {
	*net.UnixListener
	path string
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	if err := l.UnixListener.Close(); err != nil {
		return err // it was closed before
	}
	return os.Remove(l.path)
}

// listenUnix binds a socket in a folder that nobody else can enter, and moves it
// to its place when its mode is right: there is no moment in which others could
// connect. (The umask belongs to the whole process.)
func listenUnix(path string) ([]net.Listener, error) {
	if path == "" { // which would be the current folder
		return nil, errors.New("no path, want unix:PATH")
	}
	if err := makeWay(path); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), ".ui")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	name := filepath.Join(folder, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(name, 0o600)
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return []net.Listener{&unixListener{listener, path}}, nil
}

// makeWay removes a socket that nobody listens on any more, and refuses to remove
// anything else.
func makeWay(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("it exists and is no socket")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return syscall.EADDRINUSE
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

package fsmhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// certificatesOf are httptest's: the server's, and what its clients trust.
func certificatesOf(t *testing.T) *tls.Config {
	t.Helper()
	lent := httptest.NewTLSServer(nil)
	defer lent.Close()
	trusted := lent.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusted.Certificates = lent.TLS.Certificates
	trusted.ServerName = "example.com"
	return trusted
}

// certify gives the server certificates, and returns the config of its clients.
func certify(t *testing.T, server *http.Server) *tls.Config {
	t.Helper()
	config := certificatesOf(t)
	server.TLSConfig = &tls.Config{Certificates: config.Certificates, MinVersion: tls.VersionTLS13}
	return config
}

func dialTLS(t *testing.T, l net.Listener, config *tls.Config) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", l.Addr().String(), config)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// An HTTP/2 response that is under way arrives whole; the connection does not
// hold the server longer.
func TestHTTP2(t *testing.T) {
	const size = 1 << 20
	l, o, begun := listen(t), orchestrator(t, fsm.Config{Alarm: time.Minute}), make(chan struct{})
	server := serverOf(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("HTTP/%d", r.ProtoMajor)
		}
		w.(http.Flusher).Flush()
		close(begun)
		<-o.Context().Done()
		_, _ = w.Write(bytes.Repeat([]byte("x"), size))
	})
	transport := &http.Transport{TLSClientConfig: certify(t, server), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	must(t, o.Register("http", ServeTLS(server, l, "", "")))
	read := make(chan int)
	go func() {
		resp, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String())
		if err != nil {
			t.Error(err)
			read <- 0
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		read <- len(body)
	}()
	<-begun
	o.Request(fsm.Command{Reason: "test"})
	if n := <-read; n != size {
		t.Errorf("%d bytes arrived", n)
	}
	shutDown(t, o, fsm.ExitOK)
}

// A client that is in the middle of TLS is one that has sent nothing.
func TestHandshakeCostsNothing(t *testing.T) {
	l, accepted, o := listen(t), make(chan struct{}), orchestrator(t, fsm.Config{})
	server := serverOf(nil)
	server.ConnState = onNew(func() { close(accepted) })
	certify(t, server)
	must(t, o.Register("http", ServeTLS(server, l, "", "")))
	c := dial(t, l)
	<-accepted
	shutDown(t, o, fsm.ExitOK)
	answer(t, c)
}

// While others learn that the process leaves, responses say so too, also those of
// HTTP/2, and not those that turn into something else.
func TestDrainAsksClientsToGo(t *testing.T) {
	l, o := listen(t), orchestrator(t, fsm.Config{Alarm: time.Minute})
	server := serverOf(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	transport := &http.Transport{TLSClientConfig: certify(t, server), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	must(t, o.Register("http", ServeTLS(server, l, "", "")), Drain(o, "drain", 30*time.Second))
	plain := transport.TLSClientConfig.Clone()
	plain.NextProtos = nil
	ask := func(upgrade string) string {
		c := dialTLS(t, l, plain)
		send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n"+upgrade+"\r\n")
		if upgrade != "" {
			must(t, c.(*tls.Conn).CloseWrite())
		}
		return answer(t, c)
	}
	get := func() string {
		resp, err := client.Get("https://" + l.Addr().String())
		must(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return string(body)
	}
	get()
	o.Request(fsm.Command{Reason: "test"})
	for e := range o.Events(context.Background()) {
		if e.Kind == fsm.Quiesced && e.From == "http" {
			break
		}
	}
	if got := ask(""); !strings.Contains(got, "Connection: close") || !strings.HasSuffix(got, "HTTP/1.1") {
		t.Errorf("HTTP/1.1: %q", got)
	}
	if got := ask("Connection: Upgrade\r\nUpgrade: x\r\n"); strings.Contains(got, "Connection: close") {
		t.Errorf("upgrade: %q", got)
	}
	for range 3 { // each on a connection of its own, or on the way there
		if got := get(); got != "HTTP/2.0" {
			t.Errorf("HTTP/2: %q", got)
		}
	}
	o.Insist(fsm.Command{Reason: "enough"})
	shutDown(t, o, fsm.ExitOK)
}

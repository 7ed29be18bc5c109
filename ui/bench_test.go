package ui_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// The first two benchmarks measure bare gorilla connections and the gateway in
// turns, so that both see the same machine, and report the medians and their
// ratio.

// samples are the times that one thing took.
type samples []time.Duration

func (s *samples) add(f func()) {
	began := time.Now()
	f()
	*s = append(*s, time.Since(began))
}

func (s samples) median() time.Duration {
	slices.Sort(s)
	return s[len(s)/2]
}

func reportRatio(b *testing.B, gateway, bare samples) {
	b.Helper()
	b.ReportMetric(float64(bare.median()), "bare-ns")
	b.ReportMetric(float64(gateway.median()), "gateway-ns")
	b.ReportMetric(float64(gateway.median())/float64(bare.median()), "×bare")
	b.ReportMetric(0, "ns/op")
}

// bareServer serves WebSockets with nothing around gorilla.
func bareServer(b *testing.B, serve func(*websocket.Conn)) (url string) {
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			serve(ws)
		}
	}))
	b.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1)
}

func dialRaw(b *testing.B, url string) *websocket.Conn {
	b.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{ui.Subprotocol}}
	ws, _, err := dialer.Dial(url, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ws.Close() })
	return ws
}

func roundTrip(b *testing.B, ws *websocket.Conn, request []byte) []byte {
	b.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, request); err != nil {
		b.Fatal(err)
	}
	_, answer, err := ws.ReadMessage()
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// BenchmarkStatus: a status round trip takes at most 1.3 times as long as a bare
// echo of as many bytes.
func BenchmarkStatus(b *testing.B) {
	f := newFixture(b, &node{}, fsm.Config{})
	f.gateway.Unpaced()
	for _, id := range []fsm.ID{"neighborhood", "streams", "metrics", "queue", "db"} {
		f.register(id)
	}
	f.listenAndRun()
	asker := dialRaw(b, f.url)
	request := []byte(`{"opcode":"status","contextId":1,"payload":{}}`)
	size := len(roundTrip(b, asker, request))
	echo := dialRaw(b, bareServer(b, func(ws *websocket.Conn) {
		for {
			kind, data, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, data) != nil {
				return
			}
		}
	}))
	text := bytes.Repeat([]byte("x"), size)
	var gateway, bare samples
	for b.Loop() {
		for range 100 {
			bare.add(func() { roundTrip(b, echo, text) })
			gateway.add(func() { roundTrip(b, asker, request) })
		}
	}
	b.ReportMetric(float64(size), "bytes")
	reportRatio(b, gateway, bare)
}

// crowd are many connections that only read.
type crowd struct {
	got sync.WaitGroup // of the message that is on its way
}

func newCrowd(b *testing.B, url string, n int, hello string) *crowd {
	c := &crowd{}
	c.got.Add(n)
	for range n {
		ws := dialRaw(b, url)
		if hello != "" {
			roundTrip(b, ws, []byte(hello))
		}
		go func() {
			for {
				c.got.Done()
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
			}
		}()
	}
	c.got.Wait()
	return c
}

// BenchmarkEvent: an event reaches 1,000 watchers in at most 1.3 times the time
// that bare prepared messages take to reach 1,000 connections.
func BenchmarkEvent(b *testing.B) {
	const watchers = 1000
	f := newFixture(b, nil, fsm.Config{})
	f.listenAndRun()
	event := fsm.Event{Kind: fsm.Acked, State: fsm.AwaitingAcks, From: "streams", At: time.Now()}
	text := []byte(`{"opcode":"event","payload":{"seq":0,"at":"2026-01-01T00:00:00.123456789Z","kind":"Acked","state":"AwaitingAcks","from":"streams"}}`)
	var mu sync.Mutex
	var conns []*websocket.Conn
	url := bareServer(b, func(ws *websocket.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, ws)
	})
	ours := newCrowd(b, f.url, watchers, `{"opcode":"watch","contextId":1,"payload":{}}`)
	theirs := newCrowd(b, url, watchers, "")
	for mu.Lock(); len(conns) < watchers; mu.Lock() { // until the last one is served
		mu.Unlock()
	}
	mu.Unlock()
	var gateway, bare samples
	for b.Loop() {
		for range 10 {
			theirs.got.Add(watchers)
			bare.add(func() {
				prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
				if err != nil {
					b.Fatal(err)
				}
				for _, ws := range conns {
					if err := ws.WritePreparedMessage(prepared); err != nil {
						b.Fatal(err)
					}
				}
				theirs.got.Wait()
			})
			ours.got.Add(watchers)
			gateway.add(func() {
				f.gateway.Pass(event)
				ours.got.Wait()
			})
		}
	}
	reportRatio(b, gateway, bare)
	ours.got.Add(watchers) // they end with an error that nobody waits for
	theirs.got.Add(watchers)
}

// BenchmarkAnswers: from Terminated to the last of 100 askers answered in less than
// 5 ms.
func BenchmarkAnswers(b *testing.B) {
	const askers = 100
	var took samples
	for b.Loop() {
		f := newFixture(b, &node{}, fsm.Config{})
		release := f.register("slow")
		f.listenAndRun()
		var asked, answered sync.WaitGroup
		asked.Add(askers)
		last := make([]time.Time, askers)
		for i := range askers {
			ws := dialRaw(b, f.url)
			answered.Go(func() {
				request := []byte(`{"opcode":"shutdown","contextId":1,"payload":{}}`)
				if err := ws.WriteMessage(websocket.TextMessage, request); err != nil {
					b.Error(err)
				}
				roundTrip(b, ws, []byte(`{"opcode":"descriptor","contextId":2,"payload":{}}`)) // the other was read
				asked.Done()
				if _, _, err := ws.ReadMessage(); err != nil {
					b.Error(err)
				}
				last[i] = time.Now()
				ws.Close()
			})
		}
		asked.Wait()
		release()
		<-f.o.Done()
		report := f.o.Report()
		answered.Wait()
		took = append(took, slices.MaxFunc(last, time.Time.Compare).Sub(report.Began.Add(report.Took)))
		f.finish()
	}
	b.ReportMetric(float64(took.median())/1e6, "median-ms")
}

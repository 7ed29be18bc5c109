package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/farewell-node/farewell/docs/compare/service"
)

// check is one thing that every version of the service is to do.
type check string

const (
	notReady   check = "readiness says 503 before the listeners close"
	httpDone   check = "the HTTP request in flight is answered"
	wsDone     check = "the WebSocket is closed with 1001"
	rpcDone    check = "the gRPC call in flight is answered"
	noneLost   check = "nothing comes to the pool or to telemetry after its end, and telemetry is last"
	exitsZero  check = "exit code 0, within the deadline"
	diesWell   check = "a listener that dies ends the service with a code that is not 0, and the rest is stopped"
	hangsShort check = "a pool that hangs delays the end to the deadline, telemetry is flushed, and the code is not 0"
	startFails check = "without its database it ends at once, telemetry is flushed, and the code is not 0"
)

// checks lists them.
var checks = []check{notReady, httpDone, wsDone, rpcDone, noneLost, exitsZero, diesWell, hangsShort, startFails}

// conformance is which of them a version does.
type conformance map[check]bool

// conform tries one version of the service; slack is added to its deadline.
func conform(ctx context.Context, library string, slack time.Duration) (conformance, error) {
	done := conformance{}
	for fault, try := range map[string]func(*child, time.Duration, conformance) error{
		service.NoFault: tryBusy, service.DeadListener: tryDead, service.HungDatabase: tryHung, service.NoDatabase: tryUnborn,
	} {
		c, err := startChild(ctx, serviceRole, library, fault, false)
		if err != nil {
			return nil, err
		}
		err = try(c, slack, done)
		c.kill()
		c.wait()
		c.close()
		if err != nil {
			return nil, fmt.Errorf("service with %s, fault %q: %w\n%s", library, fault, err, c.log.String())
		}
	}
	return done, nil
}

// terminate sends SIGTERM, and returns when.
func (c *child) terminate() (time.Time, error) {
	return time.Now(), c.command.Process.Signal(syscall.SIGTERM)
}

// gone waits for the end, and says whether it came within the deadline.
func (c *child) gone(began time.Time, slack time.Duration) (code int, inTime bool) {
	timer := time.AfterFunc(time.Until(began.Add(service.Deadline+slack)), c.kill)
	state := c.wait()
	return state.ExitCode(), timer.Stop()
}

func (c *child) did(line string) bool { return slices.Contains(c.happened(), line) }

// up waits until the service says that it is ready.
func (c *child) up() error {
	for late := time.Now().Add(setUpTime); time.Now().Before(late); time.Sleep(time.Millisecond) {
		web := c.address("http")
		if web == "" || c.address("grpc") == "" {
			continue
		}
		response, err := http.Get("http://" + web + "/ready")
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("not ready within %v", setUpTime)
}

// address returns where the service listens.
func (c *child) address(name string) string {
	for _, line := range c.happened() {
		if address, found := strings.CutPrefix(line, name+" "); found {
			return address
		}
	}
	return ""
}

// tryBusy ends the service while it works.
func tryBusy(c *child, slack time.Duration, done conformance) error {
	if err := c.up(); err != nil {
		return err
	}
	clients, err := dialService(c.address("http"), c.address("grpc"))
	if err != nil {
		return err
	}
	defer clients.close()
	clients.begin()
	time.Sleep(service.WorkTime / 3)
	began, err := c.terminate()
	if err != nil {
		return err
	}
	done[notReady] = clients.seesNotReady()
	clients.working.Wait()
	done[httpDone], done[wsDone], done[rpcDone] = clients.http, clients.ws, clients.rpc
	code, inTime := c.gone(began, slack)
	done[exitsZero] = inTime && code == 0
	happened := c.happened()
	done[noneLost] = !c.did("query lost") && !c.did("span lost") && c.did("pool closed") &&
		happened[len(happened)-1] == "telemetry flushed"
	return nil
}

func tryDead(c *child, slack time.Duration, done conformance) error {
	if err := c.up(); err != nil {
		return err
	}
	code, inTime := c.gone(time.Now(), slack)
	done[diesWell] = inTime && code != 0 && c.did("pool closed") && c.did("telemetry flushed")
	return nil
}

func tryHung(c *child, slack time.Duration, done conformance) error {
	if err := c.up(); err != nil {
		return err
	}
	began, err := c.terminate()
	if err != nil {
		return err
	}
	code, inTime := c.gone(began, slack)
	done[hangsShort] = inTime && code != 0 && c.did("telemetry flushed")
	return nil
}

func tryUnborn(c *child, slack time.Duration, done conformance) error {
	code, inTime := c.gone(time.Now(), slack)
	done[startFails] = inTime && code != 0 && c.did("telemetry flushed")
	return nil
}

// clients are in the middle of something when the service is to end.
type clients struct {
	url           string
	socket        *websocket.Conn
	connection    *grpc.ClientConn
	working       sync.WaitGroup
	http, ws, rpc bool // it went well; to be read when nobody works any more
}

func dialService(web, rpc string) (c *clients, err error) {
	c = &clients{url: "http://" + web}
	if c.socket, _, err = websocket.DefaultDialer.Dial("ws://"+web+"/ws", nil); err != nil {
		return nil, err
	}
	if err := c.socket.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		return nil, err
	}
	if _, _, err := c.socket.ReadMessage(); err != nil {
		return nil, err
	}
	c.connection, err = grpc.NewClient(rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return c, err
}

func (c *clients) begin() {
	c.working.Go(func() {
		response, err := http.Get(c.url + "/work")
		if err == nil {
			c.http = response.StatusCode == http.StatusOK
			_ = response.Body.Close()
		}
	})
	c.working.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), setUpTime)
		defer cancel()
		err := c.connection.Invoke(ctx, service.WorkMethod, new(emptypb.Empty), new(emptypb.Empty))
		c.rpc = err == nil
	})
	c.working.Go(func() {
		_, _, err := c.socket.ReadMessage()
		c.ws = websocket.IsCloseError(err, websocket.CloseGoingAway)
	})
}

// seesNotReady asks until the answer is 503, or there is none.
func (c *clients) seesNotReady() bool {
	for {
		response, err := http.Get(c.url + "/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable {
			return true
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *clients) close() {
	_ = c.socket.Close()
	_ = c.connection.Close()
	http.DefaultClient.CloseIdleConnections()
}

func linesTables(ctx context.Context, s settings) ([]*table, error) {
	progress("lines: one service, written with each")
	results := make([]conformance, len(service.Versions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.faults.atOnce)
	for i, version := range service.Versions {
		group.Go(func() (err error) {
			results[i], err = conform(ctx, version.Library, s.faults.slack)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var list strings.Builder
	for i, c := range checks {
		fmt.Fprintf(&list, "\n%d. %s", i+1, c)
	}
	t := &table{
		title: "One service, written with each",
		head:  []string{"library", "lines", "checks passed", "what it does not do"},
		note: "Lines of code of what starts and stops the service of [service](service): of the library's file, and of those functions in " +
			"[byhand.go](service/byhand.go) that it uses. The checks, made from outside, are the same for all:\n" + list.String(),
	}
	for i, version := range service.Versions {
		lines, err := lifecycleLines(version.File)
		if err != nil {
			return nil, fmt.Errorf("lines: %s: %w", version.File, err)
		}
		var not []string
		for j, c := range checks {
			if !results[i][c] {
				not = append(not, fmt.Sprint(j+1))
			}
		}
		t.add(version.Library, fmt.Sprint(lines), fmt.Sprintf("%d of %d", len(checks)-len(not), len(checks)), strings.Join(not, ", "))
	}
	return []*table{t}, nil
}

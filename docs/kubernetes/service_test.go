package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/farewell-node/farewell/fsm"
)

// patience is how long something may take that is known to happen.
const patience = time.Minute

// build builds a command as the image has it.
func build(t *testing.T, module, what string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "command")
	c := exec.Command("go", "build", "-o", file, what)
	c.Dir, c.Env = module, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return file
}

// process is a container's command that runs here.
type process struct {
	*exec.Cmd
	log *bytes.Buffer
}

func launch(t *testing.T, env []string, command string, args ...string) *process {
	t.Helper()
	p := &process{exec.Command(command, args...), new(bytes.Buffer)}
	p.Env, p.Stderr = env, p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	return p
}

func (p *process) exit(t *testing.T) int {
	t.Helper()
	stuck := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	defer stuck.Stop()
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in %v it did not come to this: %s", patience, what)
		}
	}
}

// freeAddress returns one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// service is the manifest's container, at an address of its own.
type service struct {
	*process
	address string
	client  *http.Client
}

// run runs the service with the manifest's environment, some of it replaced.
func run(t *testing.T, container core.Container, replaced ...string) *service {
	t.Helper()
	address := freeAddress(t)
	var env []string
	for _, e := range container.Env {
		env = append(env, e.Name+"="+e.Value)
	}
	env = append(append(env, "ADDRESS="+address), replaced...) // the last one counts
	s := &service{launch(t, env, build(t, ".", ".")), address, &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience, // each probe is a new connection, as the kubelet's
	}}
	eventually(t, "the service is ready", func() bool { return s.probe(container.ReadinessProbe) == http.StatusOK })
	return s
}

// probe does what the kubelet does, and returns the status, or 0.
func (s *service) probe(p *core.Probe) int { return s.get(p.HTTPGet.Path) }

func (s *service) get(path string) int {
	response, err := s.client.Get("http://" + s.address + path)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// SIGTERM comes; from the next probe on the service is not ready, and goes on serving whoever has not heard of it,
// for as long as the manifest says. What was begun is finished. Nothing fails.
func TestServiceAsKubernetesStopsIt(t *testing.T) {
	_, container := workload(t, "service.yaml", "service")
	s := run(t, container, "DRAIN=2s")
	var slow sync.WaitGroup
	slow.Go(func() {
		if got := s.get("/work?takes=3s"); got != http.StatusOK { // longer than the drain
			t.Errorf("a request in flight got %d", got)
		}
	})
	<-time.After(500 * time.Millisecond)
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	signalled := time.Now()
	eventually(t, "it says that it is not ready", func() bool {
		if s.get("/work") != http.StatusOK {
			t.Error("work failed while it was still ready")
		}
		return s.probe(container.ReadinessProbe) == http.StatusServiceUnavailable
	})
	served := 0
	for time.Since(signalled) < time.Second { // half of the drain
		if got := s.get("/work"); got != http.StatusOK {
			t.Errorf("%v after SIGTERM a new request got %d", time.Since(signalled), got)
		}
		if got := s.probe(container.LivenessProbe); got != http.StatusOK {
			t.Errorf("%v after SIGTERM the liveness probe got %d", time.Since(signalled), got)
		}
		served++
	}
	slow.Wait()
	if code := s.exit(t); code != fsm.ExitOK || served == 0 {
		t.Errorf("exit code %d, %d requests served while leaving:\n%s", code, served, s.log)
	}
}

// A request that never ends does not hold the pod: the log names the server before the kubelet's patience is over.
func TestTheCulpritIsInTheLogBeforeTheKill(t *testing.T) {
	_, container := workload(t, "service.yaml", "service")
	s := run(t, container, "DRAIN=0s", "FAREWELL_ALARM=2s")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/work?takes=1h", nil)
	if err != nil {
		t.Fatal(err)
	}
	var stuck sync.WaitGroup
	defer stuck.Wait()
	stuck.Go(func() {
		if response, err := s.client.Do(request); err == nil {
			_ = response.Body.Close()
		}
	})
	<-time.After(500 * time.Millisecond)
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.exit(t); code != fsm.ExitImpolite { // http.Server comes back when it is insisted upon
		t.Errorf("exit code %d:\n%s", code, s.log)
	}
	if log := s.log.String(); !strings.Contains(log, "http") || !strings.Contains(log, "Insisted") {
		t.Errorf("who was it?\n%s", log)
	}
}

func TestEnvironmentThatDoesNotParse(t *testing.T) {
	command := build(t, ".", ".")
	for variable, want := range map[string]int{"FAREWELL_ALARM=soon": 2, "FAREWELL_ALARM=-1s": 2, "DRAIN=a while": fsm.ExitFailure} {
		p := launch(t, []string{"ADDRESS=127.0.0.1:0", variable}, command)
		if code := p.exit(t); code != want || !strings.Contains(p.log.String(), strings.SplitN(variable, "=", 2)[0]) {
			t.Errorf("%s: exit code %d: %s", variable, code, p.log)
		}
	}
}

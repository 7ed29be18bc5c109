package remote

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		child(config)
	}
	if config := os.Getenv(graphEnv); config != "" {
		graphChild(config)
	}
	goleak.VerifyTestMain(m)
}

// generous is for what has no reason to take long, on a busy machine.
const generous = natstest.Generous

// natsServer is an embedded one that can be killed and brought back.
type natsServer struct {
	*natstest.Server
	t testing.TB
}

func startServer(t testing.TB, options ...func(*server.Options)) *natsServer {
	return &natsServer{natstest.Start(t, options...), t}
}

func (s *natsServer) start()      { s.t.Helper(); s.Start() }
func (s *natsServer) kill()       { s.Kill() }
func (s *natsServer) url() string { return s.URL() }

// connect is a client that never gives up and comes back fast.
func (s *natsServer) connect(options ...nats.Option) *nats.Conn { return s.Connect(options...) }

func connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	return natstest.Connect(t, url, options...)
}

// process is an orchestrator that has joined a group, over a connection of its own.
type process struct {
	*fsm.Orchestrator
	t      testing.TB
	nc     *nats.Conn
	member *Member
	log    *lockedBuffer
}

func (s *natsServer) process(name string, config fsm.Config) *process {
	s.t.Helper()
	return newProcess(s.t, s.connect(nats.Name(name)), name, config)
}

func newProcess(t testing.TB, nc *nats.Conn, name string, config fsm.Config) *process {
	t.Helper()
	p := &process{t: t, nc: nc, log: new(lockedBuffer)}
	config.Logger = slog.New(slog.NewTextHandler(p.log, nil))
	o, err := fsm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	who, err := parseName(name)
	if err != nil {
		t.Fatal(err)
	}
	p.Orchestrator = o
	p.member, err = Join(nc, Config{Group: who.Group, Instance: who.Name, Logger: config.Logger}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Force(fsm.Command{Reason: "the test is over"})
		<-p.member.Done()
	})
	return p
}

// register registers what must not be refused.
func (p *process) register(id fsm.ID, c fsm.Component, options ...fsm.Option) {
	p.t.Helper()
	if err := p.Register(id, c, options...); err != nil {
		p.t.Fatal(err)
	}
}

// ended returns the final report, when everything is published.
func (p *process) ended() *fsm.Report {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	defer cancel()
	r, err := p.Wait(ctx)
	if err != nil {
		p.t.Fatalf("%s does not end: %v\n%s\n%s", p.member.self, err, r, p.log)
	}
	<-p.member.Done()
	return r
}

// listed blocks until exactly these instances are in the registry.
func listed(t testing.TB, nc *nats.Conn, group string, names ...string) []Instance {
	t.Helper()
	var got []Instance
	eventually(t, func() error {
		var err error
		if got, err = List(t.Context(), nc, group); err != nil {
			return err
		}
		var found []string
		for _, i := range got {
			found = append(found, i.String())
		}
		if strings.Join(found, " ") != strings.Join(names, " ") {
			return errors.New("listed are: " + strings.Join(found, " "))
		}
		return nil
	})
	return got
}

func eventually(t testing.TB, check func() error) { t.Helper(); natstest.Eventually(t, check) }

func logged(t testing.TB, p *process, text string) {
	t.Helper()
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), text) {
			return errors.New(text + " is not in the log:\n" + p.log.String())
		}
		return nil
	})
}

func line(t testing.TB, r *fsm.Report, id fsm.ID) fsm.ComponentReport {
	t.Helper()
	for _, l := range r.Components {
		if l.ID == id {
			return l
		}
	}
	t.Fatalf("there is no %q in the report:\n%s", string(id), r)
	return fsm.ComponentReport{}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer = natstest.Buffer

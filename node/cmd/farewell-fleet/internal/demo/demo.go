// Package demo is `farewell fleet demo`: twelve real processes in three groups under
// load, restarted three at a time and then taken down as one graph, with what was
// lost, who was named and what order was kept. Everything that it says is measured by
// somebody who has no part in it, and judged.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// chain are the groups: each asks the next one.
var chain = []string{"edge", "api", "store"}

const (
	// upTime is what processes may take to be there, on a busy machine.
	upTime = 30 * time.Second
	// calmTime is how long there is load before anybody leaves.
	calmTime = time.Second
	// seeTime is what the observer and the supervisor may take to see what has happened.
	seeTime = 10 * time.Second
)

// Config says how big the demo is. Its zero value is no use; see [Default].
type Config struct {
	Instances int           // of each group
	AtOnce    int           // that are restarted
	Rate      int           // requests a second
	Deadline  time.Duration // of each request
	Alarm     time.Duration // of each process, and so what the one takes that hangs
	Hangs     string        // the instance that does, the first time; "" for none
	Service   []string      // the arguments by which this executable is a service
}

// Default is what a person sees.
func Default() Config {
	return Config{
		Instances: 4, AtOnce: 3, Rate: 400, Deadline: 2 * time.Second, Alarm: 3 * time.Second, Hangs: "api/api-2",
		Service: []string{"demo", "service"},
	}
}

// instance is one of the processes.
type instance struct{ group, name string }

func (i instance) String() string { return i.group + "/" + i.name }

// groups returns the instances by group, in the order of the chain.
func (c Config) groups() (groups [][]string) {
	for _, group := range chain {
		var names []string
		for i := range c.Instances {
			names = append(names, instance{group, fmt.Sprintf("%s-%d", group, i+1)}.String())
		}
		groups = append(groups, names)
	}
	return groups
}

func (c Config) all() []string { return slices.Concat(c.groups()...) }

// Run runs the whole demo and says on out what happens. Whatever happens, no process
// outlives it: when ctx ends they leave politely, when now ends they are killed. The
// result has the problems that there were; an error is for what kept it from being
// whole. The folder with the logs is named in either, and else removed.
func Run(ctx, now context.Context, out io.Writer, config Config) (result *Result, err error) {
	dir, err := os.MkdirTemp("", "farewell-fleet-")
	if err != nil {
		return nil, err
	}
	now, kill := context.WithCancel(now)
	s := &stage{config: config, out: &lines{Writer: out}, dir: dir, now: now, kill: kill, began: time.Now()}
	s.result = &Result{Instances: config.all(), AtOnce: config.AtOnce, Problems: []string{}}
	defer func() { err = s.finish(ctx, err) }()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	for _, act := range []func(context.Context) error{s.restart, s.leave} {
		if err := act(ctx); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	s.result.Took = time.Since(s.began)
	s.result.judge(config)
	if len(s.result.Problems) > 0 {
		s.result.Logs = dir
	}
	s.result.show(s.out)
	return s.result, nil
}

// stage is what the demo plays on.
type stage struct {
	config Config
	out    *lines
	dir    string
	now    context.Context // ends when the processes are to be killed
	kill   func()
	began  time.Time
	result *Result

	server     *server.Server
	log        *slog.Logger // of who asks them to leave, and
	nc         *nats.Conn   // its connection
	supervisor *supervisor
	observer   *observer
	load       *load
	closers    []func() // of what was opened, the last one first
}

// open starts everything, and returns when all are there.
func (s *stage) open(ctx context.Context) (err error) {
	log, err := os.Create(filepath.Join(s.dir, "operator.log"))
	if err != nil {
		return err
	}
	s.later(func() { _ = log.Close() })
	s.log = slog.New(slog.NewTextHandler(log, nil))
	if s.server, err = startServer(s.dir); err != nil {
		return err
	}
	s.later(func() { s.server.Shutdown(); s.server.WaitForShutdown() })
	s.out.printf("A nats-server with JetStream at %s, and %d processes:\n  %d each of %s.\n",
		s.server.ClientURL(), len(s.result.Instances), s.config.Instances, strings.Join(chain, ", "))
	if s.nc, err = s.connect("operator"); err != nil {
		return err
	}
	if err := remote.Setup(ctx, s.nc, remote.Registry{}); err != nil {
		return err
	}
	if err := s.observe(ctx); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s.supervisor = newSupervisor(s.dir, func(unit instance, run int) *exec.Cmd { return s.service(program, unit, run) })
	s.later(s.stopAll)
	for _, name := range s.result.Instances {
		group, name, _ := strings.Cut(name, "/")
		s.supervisor.keep(instance{group, name})
	}
	if err := s.awaitAll(ctx); err != nil {
		return err
	}
	client, err := s.connect("client")
	if err != nil {
		return err
	}
	s.load = startLoad(s.now, client, s.config)
	s.later(func() { _ = s.load.Shutdown(context.Background()) }) // each of its requests has a deadline
	s.out.printf("All are there after %s. From now on a client sends %d requests a second,\neach through %s and back.\n",
		short(time.Since(s.began)), s.config.Rate, strings.Join(chain, " → "))
	return s.calm(ctx)
}

// calm is the load while nobody leaves, to compare with.
func (s *stage) calm(ctx context.Context) error {
	select {
	case <-time.After(calmTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.result.Calm = s.load.cut()
	s.out.printf("While nobody leaves, the slowest of %d takes %s.\n", s.result.Calm.Sent, short(s.result.Calm.Slowest))
	return nil
}

// later has something closed at the end.
func (s *stage) later(closer func()) { s.closers = append(s.closers, closer) }

func (s *stage) connect(name string) (*nats.Conn, error) {
	nc, err := nats.Connect(s.server.ClientURL(), nats.Name("demo "+name), nats.MaxReconnects(-1))
	if err == nil {
		s.later(nc.Close)
	}
	return nc, err
}

// observe begins to watch everything. When it returns the observer sees all that comes.
func (s *stage) observe(ctx context.Context) error {
	nc, err := s.connect("observer")
	if err != nil {
		return err
	}
	s.observer = newObserver()
	watching, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.observer.watch(watching, nc)
	}()
	s.later(func() { stop(); <-ended })
	return s.observer.until(ctx, func(news []remote.News) bool {
		return slices.ContainsFunc(news, func(n remote.News) bool { return n.Kind == remote.Listed })
	})
}

// service is the command that starts an instance.
func (s *stage) service(program string, unit instance, run int) *exec.Cmd {
	asks := ""
	if at := slices.Index(chain, unit.group) + 1; at < len(chain) {
		asks = chain[at]
	}
	args := append(slices.Clone(s.config.Service), "--nats", s.server.ClientURL(), "--group", unit.group,
		"--instance", unit.name, "--asks", asks, "--alarm", s.config.Alarm.String())
	if unit.String() == s.config.Hangs && run == 0 { // the bug is mended in the next version
		args = append(args, "--hang")
	}
	cmd := exec.CommandContext(s.now, program, args...)
	cmd.Env = cli.WithoutFlags(newService())
	return cmd
}

// awaitAll blocks until all instances are in the registry.
func (s *stage) awaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	err := s.observer.until(ctx, func(news []remote.News) bool {
		return len(present(news)) == len(s.result.Instances) || s.supervisor.err() != nil
	})
	if err = errors.Join(s.supervisor.err(), err); err != nil {
		news, _, _ := s.observer.seen()
		return fmt.Errorf("%d of %d processes are there after %s: %w",
			len(present(news)), len(s.result.Instances), short(time.Since(s.began)), err)
	}
	return nil
}

// see gives the observer a while to see what has happened. If it does not, then that
// shows in the result.
func (s *stage) see(ctx context.Context, fine func([]remote.News) bool) []remote.News {
	ctx, cancel := context.WithTimeout(ctx, seeTime)
	defer cancel()
	_ = s.observer.until(ctx, fine)
	news, _, _ := s.observer.seen()
	return news
}

// finish ends whatever runs, and tidies up: when all is well, or somebody does not
// want to know.
func (s *stage) finish(ctx context.Context, err error) error {
	defer s.kill()
	for _, closer := range slices.Backward(s.closers) {
		closer()
	}
	switch {
	case ctx.Err() != nil && s.now.Err() != nil:
		return errors.Join(errors.New("interrupted; the processes were killed"), os.RemoveAll(s.dir))
	case ctx.Err() != nil:
		return errors.Join(errors.New("interrupted; the processes have left"), os.RemoveAll(s.dir))
	case err != nil:
		return errors.Join(fmt.Errorf("%w\n(logs are in %s)", err, s.dir), s.tidy())
	case len(s.result.Problems) > 0:
		return s.tidy()
	}
	return os.RemoveAll(s.dir)
}

// stopAll has all processes leave. One that has not at its alarm, as each of them does,
// has to.
func (s *stage) stopAll() {
	patience := time.AfterFunc(s.config.Alarm+stopTime, s.kill)
	defer patience.Stop()
	s.supervisor.stop()
}

// tidy removes what is no log.
func (s *stage) tidy() error { return os.RemoveAll(filepath.Join(s.dir, storeDir)) }

const storeDir = "jetstream"

// startServer starts a nats-server on loopback, with what it stores and its log in dir.
func startServer(dir string) (*server.Server, error) {
	options := &server.Options{
		ServerName: "farewell-fleet-demo", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(dir, storeDir), LogFile: filepath.Join(dir, "nats-server.log"), Logtime: true,
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("nats-server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(upTime) {
		s.Shutdown()
		return nil, fmt.Errorf("nats-server: it is not up after %s", upTime)
	}
	return s, nil
}

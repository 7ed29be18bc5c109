package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// serveFlags are the flags of `farewell fleet serve`, as they come.
type serveFlags struct {
	listen, config, store string
	registry              remote.Registry
	alarm                 time.Duration
	log                   cli.Log
}

func newServe(to *where) *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a NATS server, with JetStream, for those who have none",
		Long: `Run a NATS server with JetStream, and set up the registry of who is there, until
SIGINT, SIGTERM or SIGHUP. A second signal forces the end. It is the server that
there is elsewhere, one of it; for more than one, and for more than a machine or
two, run NATS as its makers say.

On loopback it lets everybody in. Elsewhere only with --config, a configuration
of nats-server (accounts, users, TLS, …) that says who is let in: docs/fleet.md
has one. The registry is then set up as the user who is given by --creds, --nkey
or the environment; if nobody is, by the first process that joins.

When it is up it prints one line of JSON on stdout, with its URL and its folder.
It logs on stderr; with --log-level debug all that the server says.

Exit codes: 0 left in time; 1 could not start, or the server died; 2 wrong
flags; 3 the alarm fired; 4 in time, but insisted upon; 128+n forced by signal
n.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := f.server(c, to)
			if err != nil {
				return err
			}
			return untilShutdown(fsm.Config{Alarm: f.alarm, Logger: s.logger}, s.start)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:4222", "`host:port` to listen on; port 0: one that is free")
	flags.StringVar(&f.config, "config", "", "configuration `file` of nats-server; --listen and --store win where they are given")
	flags.StringVar(&f.store, "store", "", "`folder` for what JetStream keeps, made if there is none (default farewell/nats in the user's folder for state)")
	flags.DurationVar(&f.registry.TTL, "ttl", remote.DefaultTTL, "how long after its last word a process is taken for there, at least 1s")
	flags.DurationVar(&f.registry.Keep, "keep", remote.DefaultKeep, "how long the reports of those who have left are kept")
	flags.DurationVar(&f.alarm, "alarm", fsm.DefaultAlarm, "how long its own shutdown may take")
	f.log.Flags(c)
	return c
}

// natsServer is the server and its registry, as components.
type natsServer struct {
	options  *server.Options
	lock     *flock.Flock // of its folder
	registry remote.Registry
	wanted   bool          // somebody has said how the registry is to be
	nobody   bool          // nobody is given who could set it up
	as       []nats.Option // who sets it up
	logger   *slog.Logger
	up       func(url, store string) error

	server  *server.Server
	fatal   chan error // what keeps it from running
	stopped atomic.Bool
}

// server turns the flags into what is to be run.
func (f *serveFlags) server(c *cobra.Command, to *where) (*natsServer, error) {
	for _, flag := range []string{"nats", "tls-ca", "tls-cert", "tls-key"} {
		if c.Flags().Changed(flag) && cli.NameOf(c, flag) == "--"+flag { // in the environment it is for other commands
			return nil, cli.Usage(c, fmt.Errorf("--%s is for those who connect: --listen says where the server is, and --config what TLS it has", flag))
		}
	}
	logger, err := f.log.Logger(c)
	if err != nil {
		return nil, err
	}
	if f.alarm <= 0 || f.registry.TTL < time.Second || f.registry.Keep <= 0 {
		return nil, cli.Usage(c, fmt.Errorf("%s %v, %s %v, %s %v: times are positive, and a TTL is a second at least",
			cli.NameOf(c, "alarm"), f.alarm, cli.NameOf(c, "ttl"), f.registry.TTL, cli.NameOf(c, "keep"), f.registry.Keep))
	}
	options, err := f.options(c)
	if err != nil {
		return nil, err
	}
	as, err := to.credentials(c)
	if err != nil {
		return nil, err
	}
	if options.LogFile != "" || options.Syslog {
		logger.Warn("where to log, as the configuration says it, is not heeded: farewell fleet serve logs on stderr")
	}
	return &natsServer{
		options: options, registry: f.registry, wanted: c.Flags().Changed("ttl") || c.Flags().Changed("keep"),
		nobody: asksWho(options) && options.NoAuthUser == "" && !to.saysWho(), as: as, logger: logger, fatal: make(chan error, 1),
		up: func(url, store string) error {
			return json.NewEncoder(c.OutOrStdout()).Encode(upLine{url, store})
		},
	}, nil
}

// upLine is what `farewell fleet serve` prints when the server is up.
type upLine struct {
	NATS  string `json:"nats"`
	Store string `json:"store"`
}

// start starts the server, in the order of what needs what.
func (s *natsServer) start(ctx context.Context, o *fsm.Orchestrator) error {
	if err := s.lockStore(); err != nil {
		return err
	}
	if err := o.Register("store", fsm.Closer(s.lock)); err != nil {
		return errors.Join(err, s.lock.Close())
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	// A plain shutdown, not lame duck mode: that one closes clients one by one so that they
	// spread over the other servers of a cluster, and there are none.
	stop := fsm.Func(func(context.Context) error { s.stop(); return nil })
	if err := o.Register("nats", fsm.Serve(s.run, stop), fsm.Before("store")); err != nil {
		s.stop()
		return err
	}
	if err := s.setUp(ctx); err != nil {
		return err
	}
	if err := s.up(s.server.ClientURL(), s.options.StoreDir); err != nil {
		o.Request(fsm.Command{Reason: "stdout is gone", By: "farewell fleet serve", Err: err})
	}
	return nil
}

// lockStore makes the folder one server's: two would ruin what is in it.
func (s *natsServer) lockStore() error {
	if err := os.MkdirAll(s.options.StoreDir, 0o700); err != nil {
		return err
	}
	s.lock = flock.New(filepath.Join(s.options.StoreDir, "farewell.lock"))
	locked, err := s.lock.TryLock()
	if err == nil && !locked {
		err = errors.New("another server keeps its data there; choose another folder with --store")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.options.StoreDir, err)
	}
	return nil
}

// startTime is what a server may take to start, which reads what it has kept.
const startTime = time.Minute

func (s *natsServer) startServer(ctx context.Context) (err error) {
	if s.server, err = server.NewServer(s.options); err != nil {
		return err
	}
	s.server.SetLoggerV2(&natsLog{s.logger, s.fatal}, s.logger.Enabled(ctx, slog.LevelDebug), false, false)
	ready := make(chan error, 1)
	go func() {
		s.server.Start()
		if !s.server.ReadyForConnections(startTime) {
			ready <- fmt.Errorf("the NATS server is not up after %v", startTime)
		}
		close(ready)
	}()
	select {
	case err = <-ready:
	case err = <-s.fatal:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.stop()
	}
	return err
}

// run returns when the server has ended: with an error, if nobody has stopped it.
func (s *natsServer) run() error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.server.WaitForShutdown()
	}()
	select {
	case err := <-s.fatal:
		return err
	case <-ended:
		if s.stopped.Load() {
			return nil
		}
		return errors.New("the NATS server has ended")
	}
}

func (s *natsServer) stop() {
	s.stopped.Store(true)
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// setUp sets the registry up, unless that is left to whoever joins first.
func (s *natsServer) setUp(ctx context.Context) error {
	switch {
	case s.nobody && s.wanted:
		return errors.New("--ttl and --keep need somebody who may set the registry up: --creds, --nkey or the environment say who")
	case s.nobody:
		s.logger.Info("the registry is left to the first process that joins")
		return nil
	}
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	nc, err := nats.Connect("", append([]nats.Option{
		nats.InProcessServer(s.server), nats.Name("farewell fleet serve"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { deny(err) }),
	}, s.as...)...)
	if errors.Is(err, io.ErrClosedPipe) { // of the connection inside this process, before its error could be read
		err = nats.ErrAuthorization
	}
	if err == nil {
		defer nc.Close()
		err = fleet.Setup(ctx, nc, s.registry)
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, nats.ErrPermissionViolation) {
		err = fmt.Errorf("who is given may not (docs/fleet.md says what it takes; --inbox-prefix says where answers may come to): %w", cause)
	}
	if err != nil {
		return fmt.Errorf("cannot set the registry up: %w", err)
	}
	return nil
}

// natsLog has the server log where everything else does.
type natsLog struct {
	*slog.Logger
	fatal chan<- error
}

// Noticef implements [server.Logger]: what it says of itself is for those who debug.
func (l *natsLog) Noticef(format string, args ...any) { l.Debugf(format, args...) }

// Debugf implements [server.Logger].
func (l *natsLog) Debugf(format string, args ...any) {
	l.Debug("nats: " + fmt.Sprintf(format, args...))
}

// Tracef implements [server.Logger].
func (l *natsLog) Tracef(format string, args ...any) { l.Debugf(format, args...) }

// Warnf implements [server.Logger].
func (l *natsLog) Warnf(format string, args ...any) { l.Warn("nats: " + fmt.Sprintf(format, args...)) }

// Errorf implements [server.Logger].
func (l *natsLog) Errorf(format string, args ...any) {
	l.Error("nats: " + fmt.Sprintf(format, args...))
}

// Fatalf implements [server.Logger]: the server does not run, or no longer.
func (l *natsLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- fmt.Errorf("the NATS server cannot run: "+format, args...):
	default: // the first one says it
	}
}

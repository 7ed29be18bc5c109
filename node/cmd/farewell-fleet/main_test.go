package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// patience is how long something may take that is known to happen.
const patience = 60 * time.Second

// command runs one command line to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	r := begin(t, args...)
	select {
	case code = <-r.code:
	case <-time.After(patience):
		t.Fatalf("%v has not ended: %s%s", args, &r.stdout, &r.stderr)
	}
	return code, r.stdout.String(), r.stderr.String()
}

// runningCommand is a command line that has not ended.
type runningCommand struct {
	stdout, stderr clitest.Buffer
	interrupt      context.CancelFunc
	code           chan int
}

func begin(t *testing.T, args ...string) *runningCommand {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := &runningCommand{interrupt: cancel, code: make(chan int, 1)}
	go func() { r.code <- cli.Run(ctx, newRoot(), args, strings.NewReader(""), &r.stdout, &r.stderr) }()
	return r
}

// ended interrupts it and returns its exit code.
func (r *runningCommand) ended(t *testing.T) int {
	t.Helper()
	r.interrupt()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		t.Fatal("it does not end")
		return -1
	}
}

// natsAt is a server that can be stopped and started again.
type natsAt struct {
	t       testing.TB
	options server.Options
	running *server.Server
	user    string // who connects, with this password; "" where nobody is asked
}

func startNATS(t testing.TB, change ...func(*server.Options)) *natsAt {
	t.Helper()
	s := &natsAt{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	for _, c := range change {
		c(&s.options)
	}
	s.start()
	s.options.Port = s.running.Addr().(*net.TCPAddr).Port
	t.Cleanup(s.stop)
	return s
}

func (s *natsAt) start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(patience) {
		s.t.Fatal("the server does not start")
	}
	s.running = running
}

func (s *natsAt) stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

func (s *natsAt) url() string { return s.running.ClientURL() }

// connect is a client that never gives up.
func (s *natsAt) connect(options ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.url(), append([]nats.Option{
		nats.UserInfo(s.user, s.user),
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// join makes a process that has joined, and is in the registry.
func (s *natsAt) join(group, name string, components ...func(*fsm.Orchestrator) error) (*fsm.Orchestrator, *remote.Member) {
	s.t.Helper()
	nc := s.connect()
	o, err := fsm.New(fsm.Config{Alarm: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	member, err := remote.Join(nc, remote.Config{Group: group, Instance: name, Logger: slog.New(slog.DiscardHandler)}, o)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, register := range components {
		if err := register(o); err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Cleanup(func() {
		o.Force(fsm.Command{Reason: "the test is over"})
		<-member.Done()
	})
	eventually(s.t, func() error {
		list, err := remote.List(s.t.Context(), nc, group)
		for _, i := range list {
			if i.Name == name && i.Incarnation == member.Instance().Incarnation {
				return nil
			}
		}
		return errors.Join(fmt.Errorf("%s/%s is not there", group, name), err)
	})
	return o, member
}

// leave has a process leave, and waits until it has said so.
func leave(t testing.TB, o *fsm.Orchestrator, m *remote.Member, reason string) {
	t.Helper()
	o.Request(fsm.Command{Reason: reason, By: "ana"})
	if _, err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
}

// hanging is a component that ends when it is let go.
func hanging(letGo <-chan struct{}) func(*fsm.Orchestrator) error {
	return func(o *fsm.Orchestrator) error {
		return o.Register("db", fsm.Func(func(context.Context) error { <-letGo; return nil }))
	}
}

// eventually polls what happens elsewhere.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// says waits until a text has all of these in it, in this order.
func says(t testing.TB, text fmt.Stringer, all ...string) {
	t.Helper()
	eventually(t, func() error { return inOrder(text.String(), all...) })
}

func inOrder(text string, all ...string) error {
	rest := text
	for _, want := range all {
		_, after, found := strings.Cut(rest, want)
		if !found {
			return fmt.Errorf("it does not say %q, in this order, in\n%s", want, text)
		}
		rest = after
	}
	return nil
}

// What is another one each time.
var (
	anAge         = regexp.MustCompile(`[0-9.]+m?s ago`)
	anIncarnation = regexp.MustCompile(`\b[A-Za-z0-9]{22}\b`)
	spaces        = regexp.MustCompile(` +`)
)

func golden(text string) string {
	text = anAge.ReplaceAllString(text, "AGO")
	text = anIncarnation.ReplaceAllString(text, "INCARNATION")
	return spaces.ReplaceAllString(text, " ")
}

func TestUsage(t *testing.T) {
	for line, want := range map[string]string{
		"bogus":                          `unknown command "bogus"`,
		"sttaus api":                     `unknown command "sttaus"; there is status`,
		"ls a b":                         "2 arguments, want one group at most",
		"ls --nats ":                     "it needs a URL",
		"ls --nats ,":                    "it needs a URL",
		"ls --nats :4222":                "is not the URL of a server",
		"ls --nats http://127.0.0.1:1":   "the scheme is nats, tls, ws or wss",
		"ls --tls-cert x":                "--tls-cert and --tls-key go together",
		"ls --creds x --nkey y":          "--creds or --nkey, not both",
		"ls --inbox-prefix a.*":          "--inbox-prefix",
		"status":                         "want GROUP or GROUP/NAME",
		"status a b":                     "want GROUP or GROUP/NAME",
		"watch a b":                      "want one group at most",
		"serve x":                        `unknown argument "x"`,
		"serve --nats 127.0.0.1:4222":    "--listen says where the server is",
		"serve --tls-ca x":               "--config what TLS it has",
		"serve --listen 4222":            "--listen",
		"serve --listen 127.0.0.1:nats":  "the port is not a number",
		"serve --listen 127.0.0.1:65536": "the port is not a number",
		"serve --ttl 10ms":               "a TTL is a second at least",
		"serve --alarm 0s":               "times are positive",
		"serve --log-level loud":         "loud",
		"serve --listen :0":              "is not loopback",
		"serve --listen 192.0.2.1:4222":  "192.0.2.1:4222 is not loopback",
		"serve --listen example.com:0":   "needs --config",
	} {
		code, stdout, stderr := command(t, strings.Split(line, " ")...)
		if code != cli.ExitUsage || stdout != "" || !strings.Contains(stderr, want) || !strings.HasPrefix(stderr, "farewell fleet: ") ||
			!strings.Contains(stderr, "--help' for usage") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	for _, line := range clitest.Commands(newRoot()) {
		code, help, _ := command(t, append(line, "--help")...)
		clitest.TooWide(t, strings.Join(line, " ")+" --help", help)
		if code != cli.ExitOK || !strings.Contains(help, "farewell fleet") {
			t.Errorf("%v: exit code %d: %s", line, code, help)
		}
	}
}

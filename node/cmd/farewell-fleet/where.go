package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// What is secret and has no flag, since others can see command lines.
var (
	userVariable     = cli.EnvironmentName("nats-user")
	passwordVariable = cli.EnvironmentName("nats-password")
	tokenVariable    = cli.EnvironmentName("nats-token")
)

const (
	// serverTime is what one server may take to answer, and connectTime all of them.
	serverTime, connectTime = 2 * time.Second, 4 * time.Second
	// reconnectWait is short, because somebody looks on.
	reconnectWait = 250 * time.Millisecond
)

// where says where NATS is, and what it takes to be let in.
type where struct {
	servers       []string
	creds, nkey   string
	ca, cert, key string
	inboxPrefix   string
}

func (w *where) flags(c *cobra.Command) {
	flags := c.PersistentFlags()
	flags.StringSliceVar(&w.servers, "nats", []string{nats.DefaultURL}, "`URL` of a NATS server; repeatable, or several with commas")
	flags.StringVar(&w.creds, "creds", "", "credentials `file`: a user's JWT and seed, as nsc makes it")
	flags.StringVar(&w.nkey, "nkey", "", "`file` with the seed of a user's nkey")
	flags.StringVar(&w.ca, "tls-ca", "", "`file` with the authorities that the server's certificate may be of")
	flags.StringVar(&w.cert, "tls-cert", "", "`file` with the certificate to show; needs --tls-key")
	flags.StringVar(&w.key, "tls-key", "", "`file` with its key")
	flags.StringVar(&w.inboxPrefix, "inbox-prefix", "", "`subject` that answers come to, for users who may not have _INBOX (default _INBOX)")
}

// with connects to NATS and has do ask it. Ctrl-C ends the command, and never harms
// the fleet. What the server does not permit ends it too, and is said.
func (w *where) with(c *cobra.Command, do func(context.Context, *nats.Conn) error, options ...nats.Option) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C does what it always does
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	watching := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			deny(err)
		}
	})
	nc, err := w.connect(ctx, c, append(options, watching)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	return w.inPlainWords(ctx, c, do(ctx, nc))
}

// connect connects to NATS, within connectTime. The connection never gives up. Its
// error is in plain words.
func (w *where) connect(ctx context.Context, c *cobra.Command, more ...nats.Option) (*nats.Conn, error) {
	options, err := w.options(c)
	if err != nil {
		return nil, err
	}
	type result struct {
		nc  *nats.Conn
		err error
	}
	waiting, stop := context.WithTimeoutCause(ctx, connectTime, fmt.Errorf("no NATS server at %s answers", w))
	defer stop()
	connected := make(chan result)
	go func() {
		nc, err := nats.Connect(strings.Join(w.servers, ","), append(options, more...)...)
		select {
		case connected <- result{nc, err}:
		case <-waiting.Done():
			if err == nil {
				nc.Close()
			}
		}
	}()
	select {
	case r := <-connected:
		err := w.inPlainWords(ctx, c, r.err)
		if network := new(net.OpError); errors.As(r.err, &network) && err == r.err { // it does not say which server, or not what that means
			err = fmt.Errorf("no NATS server is at %s: %w; \"farewell fleet serve\" starts one", w, err)
		}
		return r.nc, err
	case <-waiting.Done():
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, context.Cause(waiting)
	}
}

func (w *where) options(c *cobra.Command) ([]nats.Option, error) {
	w.servers = strings.FieldsFunc(strings.Join(w.servers, ","), func(r rune) bool { return r == ',' }) // from the environment, too
	if len(w.servers) == 0 {
		return nil, cli.Usage(c, fmt.Errorf("%s: it needs a URL", cli.NameOf(c, "nats")))
	}
	for i, server := range w.servers {
		u, err := parseServer(server)
		if err != nil {
			return nil, cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, "nats"), err))
		}
		w.servers[i] = u.String()
	}
	options := []nats.Option{
		nats.Name(c.CommandPath()), nats.Timeout(serverTime), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
	}
	credentials, err := w.credentials(c)
	if err != nil {
		return nil, err
	}
	encryption, err := w.encryption(c)
	return slices.Concat(options, credentials, encryption), err
}

// saysWho reports whether anything says who asks; a URL does not count.
func (w *where) saysWho() bool {
	return w.creds != "" || w.nkey != "" || os.Getenv(userVariable) != "" || os.Getenv(tokenVariable) != ""
}

// credentials are who asks.
func (w *where) credentials(c *cobra.Command) (options []nats.Option, err error) {
	if user := os.Getenv(userVariable); user != "" {
		options = append(options, nats.UserInfo(user, os.Getenv(passwordVariable)))
	}
	if token := os.Getenv(tokenVariable); token != "" {
		options = append(options, nats.Token(token))
	}
	if w.inboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(w.inboxPrefix))
		if err := nats.CustomInboxPrefix(w.inboxPrefix)(new(nats.Options)); err != nil {
			return nil, cli.Usage(c, fmt.Errorf("%s: %q: %w", cli.NameOf(c, "inbox-prefix"), w.inboxPrefix, err))
		}
	}
	if w.nkey != "" && w.creds != "" {
		return nil, cli.Usage(c, fmt.Errorf("%s or %s, not both", cli.NameOf(c, "creds"), cli.NameOf(c, "nkey")))
	}
	if err := readable(w.creds, w.nkey); err != nil {
		return nil, err
	}
	if w.creds != "" {
		options = append(options, nats.UserCredentials(w.creds))
	}
	if w.nkey != "" {
		option, err := nats.NkeyOptionFromSeed(w.nkey)
		if err != nil {
			return nil, fmt.Errorf("%s holds no seed of an nkey: %w", w.nkey, err)
		}
		options = append(options, option)
	}
	return options, nil
}

// encryption is how the connection is.
func (w *where) encryption(c *cobra.Command) (options []nats.Option, err error) {
	if (w.cert == "") != (w.key == "") {
		return nil, cli.Usage(c, fmt.Errorf("%s and %s go together", cli.NameOf(c, "tls-cert"), cli.NameOf(c, "tls-key")))
	}
	if w.ca != "" {
		options = append(options, nats.RootCAs(w.ca))
	}
	if w.cert != "" {
		options = append(options, nats.ClientCert(w.cert, w.key))
	}
	return options, readable(w.ca, w.cert, w.key)
}

// readable says which file cannot be read, before anything is said about servers.
func readable(files ...string) error {
	for _, file := range files {
		if file == "" {
			continue
		}
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		_ = opened.Close()
	}
	return nil
}

// parseServer reads the URL of a server, which may lack its scheme. The error does not
// say what may be a password.
func parseServer(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "nats", text
	}
	u, err := url.Parse(scheme + "://" + rest)
	shown := rest[strings.LastIndex(rest, "@")+1:]
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not the URL of a server", shown)
	}
	switch scheme {
	case "nats", "tls", "ws", "wss":
		return u, nil
	}
	return nil, fmt.Errorf("%q: the scheme is nats, tls, ws or wss", scheme+"://"+shown)
}

// String names the servers without what it takes to be let in.
func (w *where) String() string {
	names := make([]string, 0, len(w.servers))
	for _, server := range w.servers {
		if u, err := parseServer(server); err == nil {
			names = append(names, u.Scheme+"://"+u.Host)
		}
	}
	return cli.Plain(strings.Join(names, ", "))
}

var errInterrupted = errors.New("interrupted; the fleet goes on with what it does")

// inPlainWords says first what an error means for a person.
func (w *where) inPlainWords(ctx context.Context, c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, nats.ErrPermissionViolation) {
		err = cause
	}
	switch {
	case errors.As(err, new(cli.ExitCode)) || errors.As(err, new(*cli.UsageError)):
		return err
	case errors.Is(err, nats.ErrPermissionViolation) && w.inboxPrefix == "" && strings.Contains(err.Error(), `"`+nats.InboxPrefix):
		return fmt.Errorf("the NATS server at %s does not permit who asks to read answers: --inbox-prefix says where to (docs/fleet.md): %s", w, cli.Plain(err.Error()))
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Errorf("the NATS server at %s does not permit this to who asks (docs/fleet.md says what it takes): %s", w, cli.Plain(err.Error()))
	case ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("no NATS server is at %s; \"farewell fleet serve\" starts one", w)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Errorf("the NATS server at %s does not let this command in (--creds, --nkey, or %s and %s say who asks): %w",
			w, userVariable, passwordVariable, err)
	case errors.Is(err, remote.ErrInvalid):
		return cli.Usage(c, err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the account of who asks has no JetStream at the NATS server at %s: use one of the account of the processes: %w", w, err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("the NATS server at %s has no JetStream, which keeps who is there: %w", w, err)
	case errors.Is(err, remote.ErrAway), errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("the connection to NATS at %s is lost: %w", w, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("NATS at %s does not answer in time: %w", w, err)
	}
	return err
}

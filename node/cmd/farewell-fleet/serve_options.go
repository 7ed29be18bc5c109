package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// options are those of the server: of its configuration, and what the flags say.
func (f *serveFlags) options(c *cobra.Command) (*server.Options, error) {
	host, port, err := splitAddress(f.listen)
	if err != nil {
		return nil, cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, "listen"), err))
	}
	options := new(server.Options)
	if f.config != "" {
		if options, err = server.ProcessConfigFile(f.config); err != nil {
			return nil, fmt.Errorf("%s: %w", f.config, err)
		}
	}
	if c.Flags().Changed("listen") || options.Host == "" && options.Port == 0 {
		options.Host, options.Port = host, port
	}
	if f.store != "" {
		options.StoreDir = f.store
	}
	if options.StoreDir == "" {
		if options.StoreDir, err = stateFolder(); err != nil {
			return nil, fmt.Errorf("no folder for what JetStream keeps, use --store: %w", err)
		}
	}
	options.JetStream, options.DisableJetStreamBanner, options.NoSigs = true, true, true
	if open := openTo(options); open != "" && !asksWho(options) {
		return nil, cli.Usage(c, fmt.Errorf("%s is not loopback, and whoever reaches it could shut the fleet down: "+
			"that needs --config with a configuration that says who is let in (docs/fleet.md has one)", open))
	}
	return options, nil
}

func splitAddress(text string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, err
	}
	number, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q: the port is not a number from 0 to 65535", text)
	}
	if number == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(number), nil
}

// openTo returns an address of the server that is not loopback; "" if all are.
func openTo(o *server.Options) string {
	for _, at := range []struct {
		host string
		port int
		is   bool
	}{
		{o.Host, o.Port, !o.DontListen},
		{o.Websocket.Host, o.Websocket.Port, o.Websocket.Port != 0},
		{o.LeafNode.Host, o.LeafNode.Port, o.LeafNode.Port != 0},
		{o.MQTT.Host, o.MQTT.Port, o.MQTT.Port != 0},
	} {
		if at.is && !isLoopback(at.host) {
			return net.JoinHostPort(at.host, strconv.Itoa(max(0, at.port)))
		}
	}
	return ""
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// asksWho reports whether who connects has to show who it is.
func asksWho(o *server.Options) bool {
	return o.Username != "" || o.Authorization != "" || len(o.Users) > 0 || len(o.Nkeys) > 0 || len(o.TrustedOperators) > 0 ||
		len(o.TrustedKeys) > 0 || o.AuthCallout != nil || o.TLSVerify
}

// stateFolder is where what a program keeps belongs.
func stateFolder() (string, error) {
	var folder string
	var err error
	switch runtime.GOOS {
	case "windows":
		folder, err = os.UserCacheDir() // %LocalAppData%
	case "darwin":
		folder, err = os.UserConfigDir() // ~/Library/Application Support
	default:
		if folder = os.Getenv("XDG_STATE_HOME"); folder == "" {
			folder, err = os.UserHomeDir()
			folder = filepath.Join(folder, ".local", "state")
		}
	}
	if err == nil && !filepath.IsAbs(folder) {
		err = errors.New("it is not an absolute path: " + folder)
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, "farewell", "nats"), nil
}

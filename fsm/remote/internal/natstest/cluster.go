package natstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// StartCluster starts three servers that are one.
func StartCluster(t testing.TB) (cluster []*Server) {
	var routes []*url.URL // all have to be known before the first one starts
	var ports []int
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: listener.Addr().String()})
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, port := range ports {
		cluster = append(cluster, Start(t, func(o *server.Options) {
			o.ServerName = fmt.Sprint("n", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}
			o.Routes = routes
		}))
	}
	return cluster
}

// LeaderOf is the one that leads a stream.
func LeaderOf(t testing.TB, cluster []*Server, js jetstream.JetStream, stream string) (leader *Server) {
	t.Helper()
	Eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		info, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		for _, s := range cluster {
			if c := info.CachedInfo().Cluster; c != nil && c.Leader == s.Running().Name() {
				leader = s
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
)

// A cluster of three that loses the leader of its registry in the middle of a leave
// goes on.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	var urls []string
	for _, s := range cluster {
		urls = append(urls, s.url())
	}
	nc := connect(t, strings.Join(urls, ","))
	eventually(t, func() error { // the cluster has to agree on who leads
		ctx, cancel := context.WithTimeout(t.Context(), generous)
		defer cancel()
		return Setup(ctx, nc, Registry{Replicas: 3})
	})
	store := newProcess(t, connect(t, strings.Join(urls, ",")), "store/store-1", fsm.Config{Alarm: generous})
	edge := newProcess(t, connect(t, strings.Join(urls, ",")), "edge/edge-1", fsm.Config{Alarm: generous})
	listed(t, nc, "", "edge/edge-1", "store/store-1")
	begun, release := make(chan struct{}), make(chan struct{})
	store.register("disk", fsm.Func(func(context.Context) error { close(begun); <-release; return nil }))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{})
	<-begun
	leader := leaderOf(t, cluster, jetStream(t, nc), "KV_"+ReportsBucket)
	leader.kill()
	close(release)
	if r := edge.ended(); r.ExitCode() != 0 || line(t, r, "store").Inner == nil {
		t.Errorf("edge:\n%s", r)
	}
	if r := store.ended(); r.ExitCode() != 0 {
		t.Errorf("store:\n%s", r)
	}
	eventually(t, func() error { // it can be read from those that are left
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return second(LastReport(ctx, nc, store.member.Instance()))
	})
}

func startCluster(t *testing.T) (cluster []*natsServer) {
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
		cluster = append(cluster, startServer(t, func(o *server.Options) {
			o.ServerName = fmt.Sprint("n", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}
			o.Routes = routes
		}))
	}
	return cluster
}

func leaderOf(t *testing.T, cluster []*natsServer, js jetstream.JetStream, stream string) (leader *natsServer) {
	t.Helper()
	eventually(t, func() error {
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

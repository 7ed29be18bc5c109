package remote

import (
	"context"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// A cluster of three that loses the leader of its registry in the middle of a leave
// goes on.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	var urls []string
	for _, s := range cluster {
		urls = append(urls, s.URL())
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
	leader := natstest.LeaderOf(t, cluster, jetStream(t, nc), "KV_"+ReportsBucket)
	leader.Kill()
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

package shop

import (
	"context"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	// PlaceMethod takes an order's name, as a StringValue, and answers when it is stored.
	PlaceMethod = "/shop.Orders/Place"
	// WatchMethod is a stream of ticks, Int64Values from 0, until the server leaves.
	WatchMethod = "/shop.Orders/Watch"

	tickTime = 10 * time.Millisecond
)

// WatchStream describes it to clients.
var WatchStream = grpc.StreamDesc{StreamName: "Watch", ServerStreams: true}

// NewRPC returns the gRPC server, and what tells its health. Its streams end when
// leaving is closed, with code Unavailable: begin again, elsewhere.
func NewRPC(store *Store, leaving <-chan struct{}) (*grpc.Server, *health.Server) {
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	server.RegisterService(&grpc.ServiceDesc{ // what protoc would write
		ServiceName: "shop.Orders", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Place", Handler: store.rpcPlace}},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			return watch(stream, leaving)
		}}},
	}, nil)
	h := health.NewServer()
	healthpb.RegisterHealthServer(server, h)
	return server, h
}

func (s *Store) rpcPlace(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	name := new(wrapperspb.StringValue)
	if err := decode(name); err != nil {
		return nil, err
	}
	if err := s.Place(ctx, name.Value, 0); err != nil {
		return nil, err
	}
	placed(ctx)
	return new(emptypb.Empty), nil
}

func watch(stream grpc.ServerStream, leaving <-chan struct{}) error {
	if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for n := int64(0); ; n++ {
		if err := stream.SendMsg(wrapperspb.Int64(n)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-leaving:
			return status.Error(codes.Unavailable, "leaving")
		}
	}
}

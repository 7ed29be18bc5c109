package fsmotel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmotel"
)

func ExampleRegister() {
	exported := tracetest.NewInMemoryExporter() // in earnest: otlptracegrpc.New(ctx)
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exported))
	defer func() { _ = traces.Shutdown(context.Background()) }()

	o, err := fsm.New(fsm.Config{})
	check(err)
	check(o.Register("db", fsm.Func(func(context.Context) error { return fmt.Errorf("disk is full") })))
	check(o.Register("http", fsm.Func(func(context.Context) error { return nil }), fsm.Before("db")))
	check(fsmotel.Register(o, fsmotel.Config{TracerProvider: traces}))

	report, err := o.Shutdown(context.Background(), fsm.Command{Reason: "deploy 42"})
	check(err)
	fmt.Println("exit code", report.ExitCode())
	for _, span := range exported.GetSpans() {
		if span.Status.Code == codes.Error {
			fmt.Println(span.Name+":", span.Status.Description)
		} else {
			fmt.Println(span.Name)
		}
	}
	// Output:
	// exit code 4
	// shutdown db: disk is full
	// shutdown http
	// shutdown: db
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

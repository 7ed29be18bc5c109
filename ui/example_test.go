package ui_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

// A service that uses fsm only mounts the gateway on its own server. The server is
// a component like any other: its Shutdown leaves WebSockets alone.
func ExampleGateway_ServeHTTP() {
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	gateway, err := ui.New(ui.Config{Orchestrator: o, CloseListener: listener.Close})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/farewell/", http.StripPrefix("/farewell", gateway))
	server := &http.Server{Handler: mux}
	if err := o.Register("http", server); err != nil {
		panic(err)
	}
	go server.Serve(listener)

	go askForShutdown("http://" + listener.Addr().String() + "/farewell/")

	end, err := gateway.Run(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println(end.Report.Command.Reason)
	fmt.Println("exit code", end.Report.ExitCode())
	// Output:
	// deploy 42
	// exit code 0
}

func askForShutdown(url string) {
	c, err := client.Dial(context.Background(), url)
	if err != nil {
		panic(err)
	}
	if _, err := c.Shutdown(context.Background(), "deploy 42", nil); err != nil {
		panic(err)
	}
}

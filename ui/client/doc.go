// Package client speaks to the gateway of a running process (package ui): asks
// what it is and does, watches it, and shuts it down.
//
//	c, err := client.Dial(ctx, "5333")
//	…
//	defer c.Close()
//	goodbye, err := c.Shutdown(ctx, "deploy 42", func(e fsm.Event) { fmt.Println(e.Kind, e.From) })
//	…
//	fmt.Print(goodbye.Report)
//
// Nothing that a client does, or that happens to it, harms the process at the
// other end; only Shutdown shuts it down. Every wait has an end: that of ctx, and
// without a deadline in ctx one of the package's own. Which of the sentinels an
// error wraps says what to tell a person: [ErrBadAddress], [ErrNobodyThere],
// [ErrWedged], [ErrGone], [ErrTooLong], [ErrRefused], or an [*Error] with which the process has
// answered.
package client

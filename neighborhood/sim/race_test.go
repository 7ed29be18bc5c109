//go:build race

package sim

// The race detector makes everything some ten times slower.
const (
	networks = 30  // simulated by TestNetworks
	large    = 200 // nodes of TestLeavingALargeNetwork
	downs    = 5   // networks of TestScaleDowns
	halves   = 1   // networks of TestHalfOfThemLeave
)

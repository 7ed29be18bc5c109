//go:build !race

package sim

const (
	networks = 1000 // simulated by TestNetworks
	large    = 1000 // nodes of TestLeavingALargeNetwork
	downs    = 150  // networks of TestScaleDowns
	halves   = 12   // networks of TestHalfOfThemLeave
)

//go:build race

package sim

// networks is how many the tests simulate: the race detector makes each some ten times slower.
const networks = 30

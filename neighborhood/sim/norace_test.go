//go:build !race

package sim

// networks is how many the tests simulate.
const networks = 1000

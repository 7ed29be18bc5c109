// Package neighborhood is what a node knows of the others, and how it leaves them.
//
// Every node signs one record: which others it claims as half-neighbors. Two such claims make a full neighborship.
// Neighbors pass records on to each other by gossip, of four kinds: a Debut shows a newcomer, an Introduction takes it
// in and names somebody else, a Pass sends it elsewhere, a Standard tells what has changed. Only the owner can change a
// record, and the higher version wins, so it does not matter over whom or how often a record comes.
//
// Leaving is one step: WithdrawFromNetwork lists the immediate neighbors, removes all half-neighborships under one new
// version, and sends exactly one Standard to each neighbor on the list. Shutdown returns when each of these is written
// or has failed, and Withdrawal says which. (A neighborhood that instead gossiped once for every stream it removes
// would need n(n-1)/2 messages for n neighbors, and none of these would hear of its own removal.)
//
// A network stays whole: whoever cannot reach a configured neighbor, or one that it remembers, over full neighborships in
// its own map dials it again, with back-off; and whoever is left with one neighbor asks that for another. A whole network
// is silent.
//
// What a change costs: a stream carries each version of a record at most once in each direction, and no Standard is
// empty. So V new versions cost at most 2EV Standards in a network of E neighborships, and 300 bytes for each record in
// them. A node with n neighbors that leaves makes n+1 versions: its own, and that of each neighbor that drops it.
// Package sim checks this in every run.
//
// The rules are a pure core in internal/core, the bytes are in internal/wire. A Neighborhood is the thin shell around
// them: one goroutine that owns the core, one for every frame, dial and removal under way.
package neighborhood

package node

import "github.com/farewell-node/farewell/node/internal/version"

// Version says which build of which program this is: the version of its module, the
// commit if it was built in a checkout ("modified" if that had changes), and what for.
func Version() string { return version.String() }

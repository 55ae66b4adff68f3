package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Harness says how [Run] opens a backend and how it disturbs it. Every field
// but Backend may be left out; a check that needs a missing one fails unless
// Waive names the check. Checks run side by side, so functions may be called
// from many goroutines at once; t belongs to one check, or to the whole run.
type Harness struct {
	// Backend is the key under which the driver is registered.
	Backend string

	// Driver returns the OpenFunc for node n, instead of the registered one: for
	// example on a transport that Cut can disturb. Nil means the registered one.
	Driver func(t testing.TB, n Node) driver.OpenFunc

	// Server starts a server, empty and ready, and stops it for good in
	// t.Cleanup. Checks that only use a server share one; each check that stops it
	// has its own. Nil means that the backend has none.
	Server func(t testing.TB) Server

	// Address is where a server listens that somebody else runs; it replaces
	// Server. The suite never stops it: a check that would stop it needs Server,
	// and the proxies in front of the nodes make the outages.
	Address string

	// Params returns the block of configuration of node n.
	Params func(t testing.TB, n Node) map[string]string

	// Bad holds blocks of configuration that Open must refuse, each under the key
	// at fault, which the error must name. If a key has several cases, each has a
	// note after a space: "address", "address without a port". No error and no log
	// may show a value that holds [Secret].
	Bad map[string]map[string]string

	// Timing has the periods of the channels, and the budgets of the checks.
	Timing Timing

	// Cut cuts or restores the link between two nodes, in both directions: frames on
	// a link that is cut vanish without an error. It is needed if nodes talk to
	// each other directly. If there is a server the suite cuts a node off by the
	// proxy in front of it.
	Cut func(t testing.TB, a, b Node, cut bool)

	// Inject sends frame to the nodes of a cluster on s, as a stranger would that
	// can reach their transport but is no member. In this and the next two hooks s
	// is the running server that the nodes of the check use: the one that Server
	// returned, or the one at Address, or nil without either.
	Inject func(t testing.TB, s Server, cluster string, frame []byte)

	// Foreign leaves strangers' data on s, under names as close as possible to
	// those of cluster. The function that it returns checks the data: it returns
	// nil if all of it is unchanged.
	Foreign func(t testing.TB, s Server, cluster string) (untouched func() error)

	// Residue lists what a cluster has left on s: keys, leases, subscriptions,
	// consumers.
	Residue func(t testing.TB, s Server, cluster string) []string

	// Waive maps the name of a check to the public reason why this backend does
	// not pass it.
	Waive map[string]string

	// Parallel is how many checks run side by side, beside as many that hardly do more
	// than wait; 0 means 4.
	Parallel int

	// For the tests of the suite itself.
	channel func(context.Context, backend.Config) (backend.ClusterChannel, error) // replaces backend.Open
	limit   time.Duration                                                         // how long a check may take before it counts as hanging
}

// Secret is a password for Harness.Bad and Harness.Params. No error and no log
// may show it.
const Secret = "conformance-s3cret"

// Node is one node that the suite opens. It is comparable, and no two of a run
// are equal: a node that comes back under its old name has a new ID.
type Node struct {
	ID      int
	Name    string
	Cluster string
	Server  string // the node's own proxy in front of the server; Server.Addr itself where that is no host:port; empty without a server
}

// Server is a running server of a backend.
type Server interface {
	// Addr is where the server listens, once it is started. If it is a host:port,
	// a proxy stands between it and each node, so it may differ from one Start to
	// the next.
	Addr() string

	// Stop ends the server at once, as a crash does, but keeps what it has stored.
	// It returns when nothing answers any more.
	Stop(t testing.TB)

	// Start brings a stopped server back, with what it had stored. It returns when
	// the server answers its protocol.
	Start(t testing.TB)

	// Empty deletes what a stopped server has stored.
	Empty(t testing.TB)
}

// Timing has the periods of the channels, and the budgets of the checks. A
// zero means the default. A budget above the contract's ceiling, which is also
// the default, fails the run.
type Timing struct {
	// Channel has the periods that channels are opened with. Short periods make a
	// short run; the defaults here are 100ms, 2s, 5s and 1s.
	Channel backend.Timing

	// Converge is how long nodes may take to agree on a view.
	Converge time.Duration

	// Leave is how long a leave may take to be seen by all.
	Leave time.Duration

	// Detect is how long a crash, or a deaf link, may take to be seen by all.
	Detect time.Duration

	// Restart is how long the cluster may take to be whole after the server is
	// back.
	Restart time.Duration

	// Joiner is how long a state of the others may take to reach a node.
	Joiner time.Duration

	// Scale multiplies all budgets and periods, on a machine that is slow or busy; 0
	// means 1. The race detector multiplies them by three again. The product is
	// printed with the budgets.
	Scale float64
}

// CheckInfo describes one check of the suite.
type CheckInfo struct {
	Name  string // "members/join"
	Level string // "basic" or "fault"
	Holds string // what must hold: "three nodes list the same three, sorted"
	Rule  string // the lines of the contract that it defends
}

// Checks returns what [Run] checks, in order.
func Checks() []CheckInfo {
	infos := make([]CheckInfo, len(checks))
	for i, c := range checks {
		infos[i] = c.info()
	}
	return infos
}

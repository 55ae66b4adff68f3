package backend

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Config says which cluster to join, and how. Its zero value lacks only
// Backend. It can be written as a struct, or read by [ParseURL], [ParseYAML],
// [LoadFile] and [FromEnv].
type Config struct {
	// Backend is the key of a registered backend: "memberlist", "redis", …
	Backend string

	// Cluster separates clusters that share a server or a network: nothing crosses
	// from one to another. Valid UTF-8 of at most 200 bytes. Brokers refuse an
	// empty one.
	Cluster string

	// Name is this node's name: 1 to 128 letters, digits and ". _ - :". It decides
	// the order of positions. Empty means the host's name.
	Name string

	// Meta is handed to the other members as Member.Meta; at most 512 bytes in all.
	Meta map[string]string

	// Params is the backend's own block of configuration. The backend's package
	// documents its keys; an unknown one is an error.
	Params map[string]string

	// Timing changes the defaults of the portable layer.
	Timing Timing

	// OnIsolation says what the view becomes when the node is Detached for longer
	// than Timing.Grace.
	OnIsolation IsolationPolicy

	// OnStartFailure says what Open does when the cluster cannot be reached.
	OnStartFailure StartPolicy

	// MaxPayload is the largest payload in bytes that Broadcast takes, from 256 to
	// 255 MiB; 0 means 16 MiB. It must be the same on all members.
	MaxPayload int

	// QueueItems and QueueBytes bound what waits to be sent: at most 16 Mi items and
	// 64 GiB, at least MaxPayload. 0 means 131,072 items and 64 MiB, or MaxPayload
	// where that is more.
	QueueItems int
	QueueBytes int

	// Logger receives what the channel and its transport log; nil means
	// slog.Default().
	Logger *slog.Logger

	// Registerer receives the metrics, each with the constant label cluster; nil
	// means none. Two channels in one process may share it when their clusters
	// differ; else wrap it by prometheus.WrapRegistererWith.
	Registerer prometheus.Registerer

	// Driver takes the place of a registered backend: an embedder's own driver, or
	// a test's wrapped one. Backend is then only a name for logs.
	Driver driver.OpenFunc
}

// Timing holds the periods of the portable layer. A zero means the default; what
// is outside the limits that each states is ErrConfig. All members of a cluster
// should agree.
type Timing struct {
	// Heartbeat is how often a node on a plain bus says that it lives, in a cluster
	// of up to 10. Above, it stretches in proportion, so that what all hear grows
	// with the number of nodes and not with its square: 20 deliveries a second for
	// each node. A member counts as failed after six intervals at most: within 3s
	// up to 10 nodes, 5s up to 16, and 300ms a node above. Default 500ms; from 10ms to
	// 1m.
	Heartbeat time.Duration

	// Grace is how long a Detached node keeps its last view, and how long members
	// are kept after this node is attached again. Default 10s; from 100ms, and not
	// less than Heartbeat, to 24h.
	Grace time.Duration

	// Settle is how long WaitReady waits at most for the first state exchange, which
	// Sync does not begin: it may be shorter or longer than that. Default 10s; from
	// 1ms to 24h.
	Settle time.Duration

	// Sync is how often each node compares its states with another member's.
	// Default 30s; from 100ms, and not less than Heartbeat, to 24h.
	Sync time.Duration
}

// IsolationPolicy says what becomes of the view of a node that stays Detached.
type IsolationPolicy string

const (
	BecomeAlone IsolationPolicy = "alone" // the node becomes sole member at position 0: availability first; the default
	HoldView    IsolationPolicy = "hold"  // the node keeps its last view
)

// StartPolicy says what Open does when the cluster cannot be reached.
type StartPolicy string

const (
	Degrade StartPolicy = "degrade" // return a Detached channel that attaches when it can; the default
	Fail    StartPolicy = "fail"    // return ErrUnavailable
)

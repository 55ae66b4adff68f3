package backend

import (
	"cmp"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// The limits of a Config, as its comments state them.
const (
	maxClusterBytes = 200
	maxNameBytes    = 128
	maxMetaBytes    = 512

	minHeartbeat, maxHeartbeat = 10 * time.Millisecond, time.Minute
	minPeriod, maxPeriod       = 100 * time.Millisecond, 24 * time.Hour // of grace and sync
	minSettle                  = time.Millisecond

	minPayload, maxPayload       = 256, 255 << 20 // a frame of 256 MiB is the largest, and has more than its payload
	minQueueItems, maxQueueItems = 1, 1 << 24
	maxQueueBytes                = 1 << 36
)

// complete fills the defaults of c and checks the rest. Its errors wrap
// ErrConfig and name the key, the value and what would be valid. It does not
// look into Params, which the backend decodes, nor whether Backend is
// registered. c then shares no map with the caller.
func (c *Config) complete() error {
	if err := c.fillDefaults(); err != nil {
		return err
	}
	for _, check := range []func(*Config) error{checkCluster, checkName, checkMeta, checkPolicies, checkTiming, checkSizes} {
		if err := check(c); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) fillDefaults() error {
	var k fixedKeys
	if err := params.Decode(nil, &k); err != nil {
		return err
	}
	c.Name = cmp.Or(c.Name, hostName())
	c.OnIsolation = cmp.Or(c.OnIsolation, k.OnIsolation)
	c.OnStartFailure = cmp.Or(c.OnStartFailure, k.OnStartFailure)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.Meta, c.Params = maps.Clone(c.Meta), maps.Clone(c.Params)
	return cmp.Or(
		params.OrDefault("timing: heartbeat", &c.Timing.Heartbeat, k.Heartbeat),
		params.OrDefault("timing: grace", &c.Timing.Grace, k.Grace),
		params.OrDefault("timing: settle", &c.Timing.Settle, k.Settle),
		params.OrDefault("timing: sync", &c.Timing.Sync, k.Sync),
		params.OrDefault("max_payload", &c.MaxPayload, int(k.MaxPayload)),
		params.OrDefault("queue_items", &c.QueueItems, k.QueueItems),
		params.OrDefault("queue_bytes", &c.QueueBytes, max(int(k.QueueBytes), c.MaxPayload)),
	)
}

// hostName returns the host's name as far as it can be a member's.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "node" // unique by its instance; a name only for people
	}
	return nameFrom(host)
}

func nameFrom(host string) string {
	name := strings.Map(func(r rune) rune {
		if isNameRune(r) {
			return r
		}
		return '-'
	}, host)
	return cmp.Or(name[:min(len(name), maxNameBytes)], "node")
}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-:", r)
}

func checkName(c *Config) error {
	if len(c.Name) > maxNameBytes {
		return params.Bad("name", "has %d bytes, want 1 to %d", len(c.Name), maxNameBytes)
	}
	if strings.ContainsFunc(c.Name, func(r rune) bool { return !isNameRune(r) }) {
		return params.Bad("name", "%q holds more than letters (a to z), digits and \". _ - :\"", c.Name)
	}
	return nil
}

func checkCluster(c *Config) error {
	if len(c.Cluster) > maxClusterBytes {
		return params.Bad("cluster", "has %d bytes, want at most %d", len(c.Cluster), maxClusterBytes)
	}
	if !utf8.ValidString(c.Cluster) {
		return params.Bad("cluster", "%q is not valid UTF-8", c.Cluster)
	}
	return nil
}

func checkMeta(c *Config) error {
	size := 0
	for _, k := range slices.Sorted(maps.Keys(c.Meta)) {
		v := c.Meta[k]
		if k == "" {
			return params.Bad("meta", "a key is empty")
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return params.Bad("meta", "%q: %q is not valid UTF-8", k, v)
		}
		size += len(k) + len(v)
	}
	if size > maxMetaBytes {
		return params.Bad("meta", "has %d bytes of keys and values, want at most %d", size, maxMetaBytes)
	}
	return nil
}

func checkPolicies(c *Config) error {
	switch c.OnIsolation {
	case BecomeAlone, HoldView:
	default:
		return params.Bad("on_isolation", "%q is none of %s, %s", c.OnIsolation, BecomeAlone, HoldView)
	}
	switch c.OnStartFailure {
	case Degrade, Fail:
	default:
		return params.Bad("on_start_failure", "%q is none of %s, %s", c.OnStartFailure, Degrade, Fail)
	}
	return nil
}

func checkTiming(c *Config) error {
	t := c.Timing
	return cmp.Or(
		within("timing: heartbeat", t.Heartbeat, minHeartbeat, maxHeartbeat),
		within("timing: grace", t.Grace, minPeriod, maxPeriod),
		within("timing: settle", t.Settle, minSettle, maxPeriod),
		within("timing: sync", t.Sync, minPeriod, maxPeriod),
		notBelow("timing: grace", t.Grace, "heartbeat", t.Heartbeat, "or one lost heartbeat isolates a node"),
		notBelow("timing: sync", t.Sync, "heartbeat", t.Heartbeat, "or states are compared more often than members are known to live"),
	)
}

func checkSizes(c *Config) error {
	size := func(n int) params.Bytes { return params.Bytes(n) }
	return cmp.Or(
		within("max_payload", size(c.MaxPayload), minPayload, maxPayload),
		within("queue_items", c.QueueItems, minQueueItems, maxQueueItems),
		within("queue_bytes", size(c.QueueBytes), minPayload, maxQueueBytes),
		notBelow("queue_bytes", size(c.QueueBytes), "max_payload", size(c.MaxPayload), "or a payload of that size never fits into the queue"),
	)
}

func within[T cmp.Ordered](key string, value, low, high T) error {
	if value < low || value > high {
		return params.Bad(key, "%v is not between %v and %v", value, low, high)
	}
	return nil
}

func notBelow[T cmp.Ordered](key string, value T, other string, low T, why string) error {
	if value < low {
		return params.Bad(key, "%v is less than %s, which is %v: want at least as much, %s", value, other, low, why)
	}
	return nil
}

package backend

import (
	"cmp"
	"fmt"
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
	c.Timing.Heartbeat = cmp.Or(c.Timing.Heartbeat, k.Heartbeat)
	c.Timing.Grace = cmp.Or(c.Timing.Grace, k.Grace)
	c.Timing.Settle = cmp.Or(c.Timing.Settle, k.Settle)
	c.Timing.Sync = cmp.Or(c.Timing.Sync, k.Sync)
	c.MaxPayload = cmp.Or(c.MaxPayload, int(k.MaxPayload))
	c.QueueItems = cmp.Or(c.QueueItems, k.QueueItems)
	c.QueueBytes = cmp.Or(c.QueueBytes, int(k.QueueBytes))
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.Meta, c.Params = maps.Clone(c.Meta), maps.Clone(c.Params)
	return nil
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
		return fmt.Errorf("%w: name: has %d bytes, want 1 to %d", ErrConfig, len(c.Name), maxNameBytes)
	}
	if strings.ContainsFunc(c.Name, func(r rune) bool { return !isNameRune(r) }) {
		return fmt.Errorf("%w: name: %q holds more than letters (a to z), digits and \". _ - :\"", ErrConfig, c.Name)
	}
	return nil
}

func checkCluster(c *Config) error {
	if len(c.Cluster) > maxClusterBytes {
		return fmt.Errorf("%w: cluster: has %d bytes, want at most %d", ErrConfig, len(c.Cluster), maxClusterBytes)
	}
	if !utf8.ValidString(c.Cluster) {
		return fmt.Errorf("%w: cluster: %q is not valid UTF-8", ErrConfig, c.Cluster)
	}
	return nil
}

func checkMeta(c *Config) error {
	size := 0
	for _, k := range slices.Sorted(maps.Keys(c.Meta)) {
		v := c.Meta[k]
		if k == "" {
			return fmt.Errorf("%w: meta: a key is empty", ErrConfig)
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%w: meta: %q: %q is not valid UTF-8", ErrConfig, k, v)
		}
		size += len(k) + len(v)
	}
	if size > maxMetaBytes {
		return fmt.Errorf("%w: meta: has %d bytes of keys and values, want at most %d", ErrConfig, size, maxMetaBytes)
	}
	return nil
}

func checkPolicies(c *Config) error {
	switch c.OnIsolation {
	case BecomeAlone, HoldView:
	default:
		return fmt.Errorf("%w: on_isolation: %q is none of %s, %s", ErrConfig, c.OnIsolation, BecomeAlone, HoldView)
	}
	switch c.OnStartFailure {
	case Degrade, Fail:
	default:
		return fmt.Errorf("%w: on_start_failure: %q is none of %s, %s", ErrConfig, c.OnStartFailure, Degrade, Fail)
	}
	return nil
}

func checkTiming(c *Config) error {
	for _, p := range []struct {
		key   string
		value time.Duration
	}{
		{"heartbeat", c.Timing.Heartbeat},
		{"grace", c.Timing.Grace},
		{"settle", c.Timing.Settle},
		{"sync", c.Timing.Sync},
	} {
		if p.value < 0 {
			return fmt.Errorf("%w: timing: %s: %v is negative (0 means the default)", ErrConfig, p.key, p.value)
		}
	}
	return nil
}

func checkSizes(c *Config) error {
	for _, s := range []struct {
		key   string
		value int
	}{
		{"max_payload", c.MaxPayload},
		{"queue_items", c.QueueItems},
		{"queue_bytes", c.QueueBytes},
	} {
		if s.value < 0 {
			return fmt.Errorf("%w: %s: %d is negative (0 means the default)", ErrConfig, s.key, s.value)
		}
	}
	return nil
}

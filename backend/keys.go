package backend

import (
	"fmt"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// fixedKeys are the keys of a Config that every backend has, as a URL, a YAML
// file and the environment name them: the one table of their names, types and
// defaults. In YAML those of timingKeys stand in a block of their own.
type fixedKeys struct {
	Backend        string          `param:"backend"`
	Cluster        string          `param:"cluster"`
	Name           string          `param:"name"`
	OnIsolation    IsolationPolicy `param:"on_isolation" default:"alone" oneof:"alone,hold"`
	OnStartFailure StartPolicy     `param:"on_start_failure" default:"degrade" oneof:"degrade,fail"`
	timingKeys
	MaxPayload params.Bytes `param:"max_payload" default:"16MiB"`
	QueueItems int          `param:"queue_items" default:"131072"`
	QueueBytes params.Bytes `param:"queue_bytes" default:"64MiB"`
}

type timingKeys struct {
	Heartbeat time.Duration `param:"heartbeat" default:"500ms"`
	Grace     time.Duration `param:"grace" default:"10s"`
	Settle    time.Duration `param:"settle" default:"10s"`
	Sync      time.Duration `param:"sync" default:"30s"`
}

// metaPrefix begins the keys of Config.Meta where a source has no nesting.
const metaPrefix = "meta."

// Keys returns the keys of a [Config] that every backend has, under the names
// that [ParseURL], [ParseYAML] and [FromEnv] share. Besides them there are
// Meta, whose keys are free, and the parameters of the backend.
func Keys() []params.Key { return params.Keys(fixedKeys{}) }

// isFixed reports whether key is the name of one of [Keys].
func isFixed(key string) bool {
	for _, k := range Keys() {
		if k.Name == key {
			return true
		}
	}
	return false
}

// settings are what a source of text says, before types: each source sorts its
// keys into these and leaves the rest to config.
type settings struct {
	fixed  map[string]string
	meta   map[string]string
	params map[string]string
}

// config returns the Config that s describes. What s does not mention keeps its
// zero value, so that Open fills the defaults whatever the source was.
func (s settings) config() (Config, error) {
	var k fixedKeys
	if err := params.Overlay(s.fixed, &k); err != nil {
		return Config{}, err
	}
	c := Config{
		Backend:        k.Backend,
		Cluster:        k.Cluster,
		Name:           k.Name,
		Meta:           s.meta,
		Params:         s.params,
		Timing:         Timing(k.timingKeys),
		OnIsolation:    k.OnIsolation,
		OnStartFailure: k.OnStartFailure,
		MaxPayload:     int(k.MaxPayload),
		QueueItems:     k.QueueItems,
		QueueBytes:     int(k.QueueBytes),
	}
	checked := c
	if err := checked.complete(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// putOnce sets key in m, which it makes where it is nil. A key that is there
// already is an error.
func putOnce(m *map[string]string, key, value string) error {
	if _, twice := (*m)[key]; twice {
		return fmt.Errorf("%w: %s: is given twice", ErrConfig, key)
	}
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
	return nil
}

// add sorts one key of a flat source into s: a fixed key, one of Meta, or else a
// parameter of the backend.
func (s *settings) add(key, value string) error {
	if isFixed(key) {
		return putOnce(&s.fixed, key, value)
	}
	if name, ok := strings.CutPrefix(key, metaPrefix); ok {
		return putOnce(&s.meta, name, value)
	}
	return putOnce(&s.params, key, value)
}

package grafanaini

import (
	"cmp"

	"github.com/clusterchannel/clusterchannel/backend"
)

// selection is what the keys select.
type selection struct {
	groups map[group]bool // those that have an effect
	why    string         // why the others have none
	config func(*reader) (backend.Config, error)
}

// selected chooses the backend as Grafana does: Redis wins over gossip.
func (r *reader) selected(enabled bool) selection {
	switch {
	case !enabled:
		return selection{map[group]bool{alerting: true}, "enabled is false, so there is no alerting", none}
	case len(r.values["ha_redis_address"].items) > 0:
		return selection{map[group]bool{alerting: true, shared: true, broker: true}, "ha_redis_address is set, and Redis wins", redisConfig}
	case len(r.values["ha_peers"].items) > 0:
		return selection{map[group]bool{alerting: true, shared: true, gossip: true}, "ha_redis_address is not set", gossipConfig}
	default:
		return selection{map[group]bool{alerting: true}, "neither ha_peers nor ha_redis_address is set, so high availability is off", none}
	}
}

func none(*reader) (backend.Config, error) { return backend.Config{}, nil }

// sort separates the keys that have an effect from those that are ignored.
func (r *reader) sort(chosen selection) (values []Value, ignored []Ignored) {
	for _, k := range keys {
		v := r.values[k.name]
		switch {
		case chosen.groups[k.group] && k.vain == "":
			values = append(values, Value{
				Key: k.name, Param: chosen.param(k), Text: v.shown(), Secret: v.secret, Source: v.source, Line: v.line, From: v.from, Older: v.older,
			})
		case v.given():
			ignored = append(ignored, Ignored{k.name, v.line, cmp.Or(k.vain, chosen.why)})
		}
	}
	return values, ignored
}

// param returns what k sets.
func (s selection) param(k key) string {
	if k.name != "ha_push_pull_interval" {
		return k.param
	}
	if s.groups[broker] {
		return "sync"
	}
	return "push_pull_interval"
}

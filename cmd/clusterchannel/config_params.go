package main

import (
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/backends/nats"
	"github.com/clusterchannel/clusterchannel/backends/redis"
)

// paramsOf describes the parameters of each backend of this command: what they
// are when they are not given, and which are secret.
var paramsOf = map[string]any{
	"etcd":       etcd.Params{},
	"memberlist": memberlist.Params{},
	"memory":     memory.Params{},
	"nats":       nats.Params{},
	"redis":      redis.Params{},
	"rediss":     redis.Params{},
}

// paramKeys returns the parameters of a backend; none of one that is not known.
func paramKeys(name string) []params.Key {
	of, ok := paramsOf[name]
	if !ok {
		return nil
	}
	return params.Keys(of)
}

// Package all registers every backend of this module, for a program that leaves
// the choice to its configuration:
//
//	import _ "github.com/clusterchannel/clusterchannel/backends/all"
package all

import (
	_ "github.com/clusterchannel/clusterchannel/backends/etcd"       // backend "etcd"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist" // backend "memberlist"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"     // backend "memory", for tests
	_ "github.com/clusterchannel/clusterchannel/backends/nats"       // backend "nats"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"      // backend "redis", and "rediss" with TLS
)

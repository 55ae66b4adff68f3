package main

import (
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// limiter is what the nodes share: the limits of clients, and what was used. A limit is
// kept by all together as far as they hear of each other: what is let through at one
// moment on several nodes may be one too many on each.
type limiter struct {
	node   backend.ClusterChannel
	period time.Duration
	limits *replicated.Map[string, int]
	used   *replicated.Map[share, int]

	mu sync.Mutex // of adding to a share
}

// share is what one node has let through of a client in a period. Only that node writes
// it, so that no two writers undo each other's.
type share struct {
	Client, Node string
	Period       int64
}

func newLimiter(node backend.ClusterChannel, period time.Duration) (*limiter, error) {
	l := &limiter{node: node, period: period}
	var err error
	if l.limits, err = replicated.NewMap[string, int](nil); err != nil {
		return nil, err
	}
	if l.used, err = replicated.NewMap[share, int](nil); err != nil {
		return nil, err
	}
	if err := l.limits.Attach(node, "limits"); err != nil {
		return nil, err
	}
	return l, l.used.Attach(node, "used")
}

func (l *limiter) close() {
	l.limits.Close()
	l.used.Close()
}

// use counts a request of a client. It is to be refused if used is above limit.
func (l *limiter) use(client string) (used, limit int, err error) {
	limit, ok := l.limits.Get(client)
	if !ok {
		limit = 10
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	view, period := l.node.View(), time.Now().UnixNano()/int64(l.period)
	for i, m := range view.Members {
		if i > 0 && m.Name == view.Members[i-1].Name { // it restarts, and its former run is not dropped yet
			continue
		}
		n, _ := l.used.Get(share{client, m.Name, period})
		used += n
	}
	if used++; used > limit {
		return used, limit, nil
	}
	mine := share{client, view.Self().Name, period}
	n, _ := l.used.Get(mine)
	return used, limit, l.used.SetTTL(mine, n+1, 2*l.period)
}

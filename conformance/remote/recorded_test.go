package remote_test

import (
	"context"
	"sync"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// recorded is a backend that opens, or fails to, as the test says.
var recorded struct {
	sync.Mutex
	open func(params map[string]string) error
}

func init() {
	open := func(_ context.Context, o driver.Options) (driver.Driver, error) {
		recorded.Lock()
		defer recorded.Unlock()
		if err := recorded.open(o.Params); err != nil {
			return nil, err
		}
		return idle{}, nil
	}
	backend.Register("recorded", driver.Backend{Open: open})
	backend.Register("described", driver.Backend{Open: open, Params: struct {
		Servers []string `param:"servers" alias:"address"`
		Other   string   `param:"other"`
	}{}})
}

func record(t *testing.T, open func(params map[string]string) error) {
	t.Helper()
	recorded.Lock()
	defer recorded.Unlock()
	recorded.open = open
}

type idle struct{ driver.Driver }

func (idle) Caps() driver.Caps           { return driver.Caps{} }
func (idle) Close(context.Context) error { return nil }

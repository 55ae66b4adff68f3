package nemesis

import (
	"context"
	"errors"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// seat is an open node: in this process, or in one of its own.
type seat interface {
	put(key, name string, size int)                                                 // writes an entry
	act(ctx context.Context, name string, turn time.Duration) (did bool, err error) // waits for its turn, and does what it does not know to be done
	be(key string, m mood)                                                          // what Merge of a state does from now on
	add(key string) error
	remove(key string)
	reopen() // the driver gives up
	befall(c condition)
	figures() (figures, error)
	close(limit time.Duration) error
}

// abrupt is a seat whose process can stand still, and can be killed.
type abrupt interface {
	pause()
	resume()
	kill()
	end() (left string) // after close; what the process still held
}

// audience is who hears of a seat.
type audience interface {
	viewed(v backend.View)
	got(key, name string, sum uint32) // an entry that another node wrote
	damaged(key string)
}

// figures are metrics of a node.
type figures struct {
	Series       int
	Left, Failed float64
}

// settings are what a seat is opened with.
type settings struct {
	Backend, Cluster, Name string
	Params                 map[string]string
	Timing                 backend.Timing
	OnIsolation            backend.IsolationPolicy
}

func (s settings) config() backend.Config {
	return backend.Config{
		Backend: s.Backend, Cluster: s.Cluster, Name: s.Name, Params: s.Params, Timing: s.Timing, OnIsolation: s.OnIsolation,
	}
}

// sight is a view as JSON: its error is a text.
type sight struct {
	backend.View
	Err string
}

func sightOf(v backend.View) sight {
	s := sight{View: v}
	if v.Err != nil {
		s.Err = v.Err.Error()
	}
	s.View.Err = nil
	return s
}

func (s sight) view() backend.View {
	v := s.View
	if s.Err != "" {
		v.Err = errors.New(s.Err)
	}
	return v
}

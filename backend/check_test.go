package backend_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
)

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		config backend.Config
		want   string // empty: it is good
	}{
		"good":              {backend.Config{Backend: "memory", Cluster: "c"}, ""},
		"unknown backend":   {backend.Config{Backend: "pigeon"}, "pigeon"},
		"bad name":          {backend.Config{Backend: "memory", Name: "a b"}, "name"},
		"unknown parameter": {backend.Config{Backend: "memory", Params: map[string]string{"colour": "red"}}, "colour"},
	} {
		err := backend.Check(c.config)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v, want none", name, err)
		case c.want != "" && (!errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want ErrConfig that says %q", name, err, c.want)
		}
	}
}

// TestCheckOpensNothing holds Check to handing over a done context, and to
// closing what a driver opened nevertheless.
func TestCheckOpensNothing(t *testing.T) {
	for name, outcome := range map[string]error{"opened": nil, "unavailable": driver.ErrUnavailable, "panics": errors.New("boom")} {
		drv := &closeCounter{}
		err := backend.Check(backend.Config{Backend: "own", Driver: func(ctx context.Context, _ driver.Options) (driver.Driver, error) {
			if ctx.Err() == nil {
				t.Errorf("%s: the context is not done", name)
			}
			switch name {
			case "opened":
				return drv, nil
			case "panics":
				panic(outcome)
			}
			return nil, outcome
		}})
		if (err != nil) != (name == "panics") {
			t.Errorf("%s: %v", name, err)
		}
		if (drv.closed > 0) != (name == "opened") {
			t.Errorf("%s: closed %d times", name, drv.closed)
		}
	}
}

type closeCounter struct {
	driver.Driver
	closed int
}

func (d *closeCounter) Close(context.Context) error { d.closed++; return nil }

package doctor_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// examine runs an examination and returns its findings.
func examine(t *testing.T, b driver.Backend, o driver.Options) []driver.Finding {
	t.Helper()
	var found []driver.Finding
	doctor.Run(t.Context(), b, driver.Examination{
		Options: o, Timeout: 2 * time.Second, Report: func(f driver.Finding) { found = append(found, f) },
	})
	return found
}

func has(t *testing.T, found []driver.Finding, name string, status driver.Status, words ...string) {
	t.Helper()
	if !slices.ContainsFunc(found, func(f driver.Finding) bool {
		all := strings.Join([]string{f.Tried, f.Got, f.Fix}, "\n")
		return f.Name == name && f.Status == status && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(all, w) })
	}) {
		t.Errorf("no finding %q is %q and says %q:\n%+v", name, status, words, found)
	}
}

func TestRunWithoutExamine(t *testing.T) {
	b, _ := backend.Lookup("memory")
	b.Examine = nil
	found := examine(t, b, driver.Options{Cluster: "c", Params: map[string]string{"bus": t.Name()}})
	has(t, found, "attach", driver.OK)
	has(t, found, "delivery", driver.OK, "heard after")
	has(t, found, "members", driver.OK, "none")
}

func TestRunSeesMembersAndDisturbsNone(t *testing.T) {
	params := map[string]string{"bus": t.Name()}
	ch, err := backend.Open(t.Context(), backend.Config{Backend: "memory", Cluster: "c", Name: "resident", Params: params})
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	if err := ch.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := ch.View().Epoch
	b, _ := backend.Lookup("memory")
	has(t, examine(t, b, driver.Options{Cluster: "c", Params: params}), "members", driver.OK, "1: resident")
	if v := ch.View(); v.Epoch != before {
		t.Errorf("the member sees %v", v.Members)
	}
}

// A one-way link is named in the same words as by the nodes.
func TestRunNamesWhoDoesNotHearWhom(t *testing.T) {
	bus := memory.NewBus()
	defer bus.Remove()
	params := map[string]string{"bus": bus.Name()}
	deaf := make(chan string, 1) // the instance that b does not hear
	var nodes []backend.ClusterChannel
	for _, name := range []string{"a", "b", "c"} {
		c := backend.Config{Backend: "memory", Cluster: "c", Name: name, Params: params, Timing: backend.Timing{Heartbeat: 50 * time.Millisecond}}
		if name == "b" {
			c.Driver = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
				d, err := memory.Open(ctx, o)
				return &oneWay{Driver: d, deaf: deaf}, err
			}
		}
		ch, err := backend.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
		nodes = append(nodes, ch)
	}
	for v := range nodes[1].Watch(t.Context()) {
		if len(v.Members) == 3 {
			break
		}
	}
	b, _ := backend.Lookup("memory")
	has(t, examine(t, b, driver.Options{Cluster: "c", Params: params}), "views", driver.OK, "the same")
	deaf <- nodes[0].View().Self().Instance
	for v := range nodes[2].Watch(t.Context()) {
		if slices.Contains(v.Disputed, "b does not hear a") {
			break
		}
	}
	has(t, examine(t, b, driver.Options{Cluster: "c", Params: params}), "views", driver.Fail, "b does not hear a", "both ways")
}

// oneWay does not deliver what one instance sends.
type oneWay struct {
	driver.Driver
	deaf <-chan string
}

func (d *oneWay) Serve(ctx context.Context, h driver.Handler) error {
	return d.Driver.Serve(ctx, &filter{Handler: h, deaf: d.deaf})
}

type filter struct {
	driver.Handler
	deaf <-chan string
	to   string
}

func (f *filter) Frame(b []byte) {
	select {
	case f.to = <-f.deaf:
	default:
	}
	var frame wire.Frame
	if f.to != "" && wire.Decode(b, &frame) == nil && string(frame.Origin) == f.to {
		return
	}
	f.Handler.Frame(b)
}

func TestRunSaysWhatKeepsABackendFromOpening(t *testing.T) {
	open := func(context.Context, driver.Options) (driver.Driver, error) {
		return nil, errors.New("the door is locked")
	}
	has(t, examine(t, driver.Backend{Open: open}, driver.Options{}), "attach", driver.Fail, "the door is locked")
}

func TestRunShowsNoSecret(t *testing.T) {
	b := driver.Backend{
		Params: struct {
			Address string `param:"address"`
			PIN     string `param:"pin" secret:"true"`
		}{},
		Examine: func(_ context.Context, e driver.Examination) {
			e.Fail("auth", "log in with "+e.Params["pin"], errors.New("refused: "+e.Params["pin"]+" at "+e.Params["address"]), "not "+e.Params["other"])
		},
	}
	found := examine(t, b, driver.Options{Params: map[string]string{"address": "a:1", "pin": "s3cret", "other": "s3cret too"}})
	has(t, found, "auth", driver.Fail, "log in with <secret>", "refused: <secret> at a:1", "not <secret>")
}

func TestRunContainsAPanic(t *testing.T) {
	b := driver.Backend{Examine: func(_ context.Context, e driver.Examination) {
		e.OK("name", "look", "found")
		panic("out of ideas")
	}}
	found := examine(t, b, driver.Options{})
	has(t, found, "name", driver.OK)
	has(t, found, "examination", driver.Fail, "out of ideas")
}

func TestStages(t *testing.T) {
	for failed, want := range map[string][]driver.Status{
		"":       {driver.OK, driver.OK},
		"first":  {driver.Fail},
		"second": {driver.OK, driver.Fail},
	} {
		var got []driver.Status
		e := driver.Examination{Report: func(f driver.Finding) { got = append(got, f.Status) }}
		var err error
		if failed != "" {
			err = errors.New("no")
		}
		ok := doctor.Stages(e, []doctor.Stage{{Name: "first", Fix: "fix"}, {Name: "second", Fix: "fix"}}, failed, err)
		if !slices.Equal(got, want) || ok != (err == nil) {
			t.Errorf("failed at %q: %v, %q; want %q", failed, ok, got, want)
		}
	}
}

func TestReachAndResolve(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := l.Addr().String()
	var found []driver.Finding
	e := driver.Examination{Timeout: time.Second, Report: func(f driver.Finding) { found = append(found, f) }}
	if got := doctor.Reach(t.Context(), e, doctor.Resolve(t.Context(), e, []string{open, "no-such-host.invalid:1", "portless"})); !slices.Equal(got, []string{open}) {
		t.Errorf("reached %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := doctor.Reach(t.Context(), e, []string{open}); len(got) > 0 {
		t.Errorf("reached %q, where nobody listens", got)
	}
	has(t, found, "tcp", driver.OK, open)
	has(t, found, "name", driver.Fail, "no-such-host.invalid", "getent")
	has(t, found, "name", driver.Fail, "portless", "host:port")
	has(t, found, "tcp", driver.Fail, open, "nothing listens")
}

package redis_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// brief is a run for each change, with nodes in processes of their own; the
// environment makes it longer at night.
var brief = nemesis.Options{Seed: 7, For: 20 * time.Second, Processes: true}

func TestNemesis(t *testing.T) { nemesis.Run(t, harness(), brief) }

// watched are servers with Sentinels as one server of a harness. Its nodes reach them
// without proxies.
type watched struct{ *sentinels }

// Addr is no host:port: nodes are given all Sentinels.
func (w watched) Addr() string { return "the Sentinels" }

func (w watched) all(t testing.TB, do func(*process.Server, testing.TB)) {
	for _, s := range w.data {
		do(s, t)
	}
}

func (w watched) Stop(t testing.TB)  { w.all(t, (*process.Server).Stop) }
func (w watched) Start(t testing.TB) { w.all(t, (*process.Server).Start) }
func (w watched) Empty(t testing.TB) { w.all(t, (*process.Server).Empty) }

// FailOver stops the master; when it comes back it follows another one.
func (w watched) FailOver(t testing.TB) (back func()) {
	addr := w.master(t)
	s := w.data[slices.IndexFunc(w.data, func(s *process.Server) bool { return s.Addr() == addr })]
	s.Stop(t)
	return func() { s.Start(t) }
}

// TestNemesisOfSentinels is played at night, when the environment says for how long:
// servers that fail over.
func TestNemesisOfSentinels(t *testing.T) {
	if os.Getenv("CLUSTERCHANNEL_NEMESIS_FOR") == "" {
		t.Skip("at night only: CLUSTERCHANNEL_NEMESIS_FOR is not set")
	}
	l := newSentinels(t)
	l.ready(t)
	h := harness()
	h.Server = func(testing.TB) conformance.Server { return watched{l} }
	h.Params = func(testing.TB, conformance.Node) map[string]string { return l.params() }
	h.Residue = nil // it asks one server
	nemesis.Run(t, h, brief)
}

package etcd_test

import (
	"os"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
)

// brief is a run for each change, with nodes in processes of their own; the
// environment makes it longer at night.
var brief = nemesis.Options{Seed: 7, For: 20 * time.Second, Processes: true}

func TestNemesis(t *testing.T) {
	nemesis.Run(t, harness(0, func(t testing.TB) conformance.Server { return start(t) }), brief)
}

// TestNemesisOnThreeServers is played at night, when the environment says for how
// long: a cluster that fails over.
func TestNemesisOnThreeServers(t *testing.T) {
	if os.Getenv("CLUSTERCHANNEL_NEMESIS_FOR") == "" {
		t.Skip("at night only: CLUSTERCHANNEL_NEMESIS_FOR is not set")
	}
	nemesis.Run(t, harness(0, func(t testing.TB) conformance.Server { return startCluster(t) }), brief)
}

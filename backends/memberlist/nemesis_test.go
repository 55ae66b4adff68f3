package memberlist

import (
	"os"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/remote"
)

// brief is a run for each change; the environment makes it longer at night.
var brief = nemesis.Options{Seed: 7, For: 20 * time.Second}

// TestNemesis cuts links between nodes of this process.
func TestNemesis(t *testing.T) { nemesis.Run(t, harness(), brief) }

// TestNemesisOfProcesses kills and stops processes, at night, when the environment says
// for how long.
func TestNemesisOfProcesses(t *testing.T) {
	if os.Getenv("CLUSTERCHANNEL_NEMESIS_FOR") == "" {
		t.Skip("at night only: CLUSTERCHANNEL_NEMESIS_FOR is not set")
	}
	h, err := remote.Mesh("memberlist", nemesis.Names(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := brief
	o.Processes = true
	nemesis.Run(t, h, o)
}

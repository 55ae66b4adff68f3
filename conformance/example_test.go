package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// bus is a memory.Bus as the server of the suite.
type bus struct{ *memory.Bus }

func (b bus) Addr() string     { return b.Name() }
func (b bus) Stop(testing.TB)  { b.Bus.Stop() }
func (b bus) Start(testing.TB) { b.Bus.Start() }
func (bus) Empty(testing.TB)   {} // it stores nothing

// harness says how to open the backend and how to disturb it.
func harness() conformance.Harness {
	return conformance.Harness{
		Backend: "memory",
		Server: func(t testing.TB) conformance.Server {
			b := memory.NewBus()
			t.Cleanup(b.Remove)
			return bus{b}
		},
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"bus": n.Server}
		},
		Bad: map[string]map[string]string{
			"max_frame": {"max_frame": "a lot"},
		},
		Waive: map[string]string{
			"isolation/foreign-data": "a process has no strangers",
			"life/leaves-nothing":    "a bus keeps no list of what is left",
		},
	}
}

// In a test of the backend, each check is a sub-test.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		conformance.Run(t, harness())
	}
	// Output:
}

// A program runs the suite, or some checks of it, with Execute.
func ExampleExecute() {
	report, err := conformance.Execute(context.Background(), harness(), conformance.Options{
		Select: func(name string) bool {
			return strings.HasPrefix(name, "members/self") || strings.HasPrefix(name, "position/shifts")
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range report.Results {
		fmt.Println(r.Name, r.Outcome)
		fmt.Println(r.Holds)
	}
	fmt.Println(report.Summary())
	// Output:
	// members/self-at-once passed
	// a node lists itself, once, as soon as Open returns
	// position/shifts-on-leave passed
	// when the first leaves, the others move up by one
	// 2 checks: 2 passed, 0 waived
}

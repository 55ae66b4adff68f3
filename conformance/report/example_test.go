package report_test

import (
	"fmt"
	"os"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/report"
)

// What conformance.Execute returns can be printed in several formats.
func ExampleWrite() {
	checks := conformance.Checks()
	r := conformance.Report{
		Backend: "relay", Server: "127.0.0.1:7000", Took: 3 * time.Second, Scale: 1,
		Results: []conformance.Result{
			{CheckInfo: checks[0], Outcome: conformance.Passed, Took: time.Millisecond},
			{CheckInfo: checks[1], Outcome: conformance.NotRun, Reason: "needs bad parameters"},
		},
	}
	if err := report.Write(os.Stdout, "table", r); err != nil {
		fmt.Println(err)
	}
	// Output:
	// relay at 127.0.0.1:7000
	//
	// CHECK                   LEVEL  OUTCOME  TIME  DEFENDS
	// config/unknown-backend  basic  passed   0s    C18
	// config/bad-params       basic  not run        C18      needs bad parameters
	//
	// BUDGET  LIMIT  STRETCHED  WORST  TIMES
	//
	// 2 checks: 1 passed, 0 waived, 1 not run in 3s
}

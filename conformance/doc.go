// Package conformance decides whether a driver is a backend. [Run] opens
// channels through package backend alone and holds them to the contract, so the
// driver and the portable layer above it are tested together; some checks also hand
// frames to the drivers below, since the portable layer makes up for much.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Harness{
//			Backend: "relay",
//			Server:  newServer,
//			Params: func(t testing.TB, n conformance.Node) map[string]string {
//				return map[string]string{"address": n.Server}
//			},
//		})
//	}
//
// Each check is a sub-test, basic/<name> or fault/<name>; fault checks stop
// servers, cut links and kill nodes, and are left out by -short. A failing check
// prints what it has seen, what to look at and the line of the contract that it
// defends; a run ends with what it cannot check. A check for which the harness
// lacks a hook fails, unless it is waived with a public reason.
//
// [Execute] does the same in a program that is no test, and reports which checks
// the harness could not run.
package conformance

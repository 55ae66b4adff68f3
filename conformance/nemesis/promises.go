package nemesis

import "github.com/clusterchannel/clusterchannel/conformance"

// promise is one thing that must hold, whatever happens.
type promise struct {
	name  string
	holds string
	rules []int // lines of the contract
}

var (
	wellFormed = &promise{"view", "each view is sorted, holds its node once, at its position; epochs grow", []int{8, 15, 17}}
	steady     = &promise{"steady", "a node that nothing befalls stays attached, and in the views of all others of this kind", []int{11, 12, 17}}
	oneView    = &promise{"one-view", "when all is healed, all nodes are attached, list the same members, and have positions of their own", []int{9, 12, 16}}
	reach      = &promise{"reach", "when all is healed, what any living node holds all of them hold", []int{1, 2, 4, 7, 12}}
	intact     = &promise{"intact", "nobody is given bytes that nobody wrote", []int{1, 14}}
	ready      = &promise{"ready", "when all is healed, each state is ready, or named as one that is not", []int{19}}
	status     = &promise{"status", "a node that is cut off does not say that it is attached among the others", []int{16, 21}}
	once       = &promise{"once", "what waits for its turn is done at least once; without a fault exactly once", []int{15, 16, 17}}
	parting    = &promise{"parting", "who left does not count as failed, nor who failed as left", []int{10}}
	lifecycle  = &promise{"lifecycle", "Open, AddState and Close do what they say in their time, whatever is broken", []int{18, 20}}
	resources  = &promise{"resources", "goroutines, descriptors, heap, series and the server's data are afterwards what they were", []int{20, 22}}
)

var promises = []*promise{wellFormed, steady, oneView, reach, intact, ready, status, once, parting, lifecycle, resources}

// info describes p as a check of the suite.
func (p *promise) info() conformance.CheckInfo {
	return conformance.CheckInfo{Name: "nemesis/" + p.name, Level: "fault", Holds: p.holds, Rule: conformance.Rules(p.rules...)}
}

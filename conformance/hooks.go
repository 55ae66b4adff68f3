package conformance

// hook is what a check needs from a harness besides a backend that can be
// opened.
type hook struct {
	name  string // how to provide it: "Harness.Bad"
	gives string // what a check then has: "bad parameters"
	in    func(Harness) bool
}

var (
	ownServer = &hook{name: "Harness.Server", gives: "a server it may stop", in: func(h Harness) bool {
		return h.Server != nil && h.Address == ""
	}}
	server = &hook{name: "Harness.Server", gives: "a server that does not answer", in: func(h Harness) bool {
		return h.Server != nil
	}}
	links = &hook{name: "Harness.Server or Harness.Cut", gives: "links it may cut", in: func(h Harness) bool {
		return h.Server != nil || h.Cut != nil
	}}
	badParams = &hook{name: "Harness.Bad", gives: "bad parameters", in: func(h Harness) bool {
		return h.Bad != nil
	}}
	stranger = &hook{name: "Harness.Inject", gives: "to send as a stranger", in: func(h Harness) bool {
		return h.Inject != nil
	}}
	residue = &hook{name: "Harness.Residue", gives: "to see what is left on the server", in: func(h Harness) bool {
		return h.Server == nil || h.Residue != nil
	}}
)

package conformance

import "testing"

// standing is a server that somebody else runs, by its address. No check that
// would stop it is run.
type standing string

func (s standing) Addr() string { return string(s) }
func (s standing) Stop(t testing.TB) {
	t.Fatal("conformance: the server of Harness.Address is not ours to stop")
}
func (s standing) Start(t testing.TB) {
	t.Fatal("conformance: the server of Harness.Address is not ours to start")
}
func (s standing) Empty(t testing.TB) {
	t.Fatal("conformance: the server of Harness.Address is not ours to empty")
}

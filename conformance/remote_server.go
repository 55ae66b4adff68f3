package conformance

import "testing"

// remoteServer is a server that somebody else runs, by its address. No check that
// would stop it is run.
type remoteServer string

func (s remoteServer) Addr() string { return string(s) }
func (s remoteServer) Stop(t testing.TB) {
	t.Fatal("conformance: the server of Harness.Address is not ours to stop")
}
func (s remoteServer) Start(t testing.TB) {
	t.Fatal("conformance: the server of Harness.Address is not ours to start")
}
func (s remoteServer) Empty(t testing.TB) {
	t.Fatal("conformance: the server of Harness.Address is not ours to empty")
}

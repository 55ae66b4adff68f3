package conformance

import "testing"

// remoteServer is a server that somebody else runs, by its address. The suite
// runs no check that would stop it.
type remoteServer string

func (s remoteServer) Addr() string { return string(s) }
func (s remoteServer) Stop(t testing.TB) {
	t.Fatal("conformance: the server at Harness.Address belongs to somebody else: it is not stopped")
}
func (s remoteServer) Start(t testing.TB) {
	t.Fatal("conformance: the server at Harness.Address belongs to somebody else: it is not started")
}
func (s remoteServer) Empty(t testing.TB) {
	t.Fatal("conformance: the server at Harness.Address belongs to somebody else: it is not emptied")
}

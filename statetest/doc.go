// Package statetest holds a backend.State to what the interface asks for, before it meets
// a network: in the tests of a service that has a state of its own.
//
//	func words(t testing.TB) statetest.Subject {
//		w := newWords() // a backend.State
//		return statetest.Subject{
//			State:   w,
//			Change:  func(r *rand.Rand) error { return w.Say(fmt.Sprint(r.IntN(10))) },
//			Attach:  func(node backend.ClusterChannel, key string) error { return w.Attach(node, key) },
//			Content: func() string { return fmt.Sprint(w.All()) },
//		}
//	}
//
//	func TestWords(t *testing.T) {
//		statetest.Check(t, words, nil)    // the laws of Merge, and what else is written of a State
//		statetest.Simulate(t, words, nil) // in clusters that are broken at random
//	}
//
//	func FuzzWords(f *testing.F) { statetest.Fuzz(f, words, nil) }
//
// The first two try a number of seeds, small cases first, and a failure says which law does not
// hold, what was seen, and the seed to see it again with.
//
// # The laws
//
//   - maker: the states that are made are empty and share nothing, and a change is seen
//   - round trip: an empty state that merges what another one marshals is equal to it
//   - commutative, associative, idempotent: it is one outcome in whatever order, grouping
//     and number states are merged
//   - updates: what was broadcast is part of the state, in any order, and changes nothing
//     when it comes again
//   - broadcast: what is broadcast of a change carries it: who had the state before, and
//     merges it, has the state after
//   - digest: states are equal just if their digests are
//   - entries: the entries of a backend.EntryState make the state, one by one, in any
//     order; equal states have the same ids, and others have other ones
//   - arguments: Merge keeps nothing of its argument, and what MarshalBinary returned does
//     not change
//   - together: calls at the same time neither hang nor panic, and lose nothing
//   - garbage: no input makes a call panic or hang, and what is merged of it others merge
//   - growth: what comes again takes no more room
//
// Whether MarshalBinary is deterministic is logged: one that is not should be a
// backend.Digester or a backend.EntryState, else it is exchanged where nothing differs.
//
// It imports testing: import it in tests alone.
package statetest

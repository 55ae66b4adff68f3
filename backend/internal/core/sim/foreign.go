package sim

import (
	"maps"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// foreign is a node that speaks another protocol, as a real Alertmanager does: it
// is a member, and exchanges full states as the transport does by itself.
type foreign struct {
	name   string
	states map[string]*set
}

func (f *foreign) member() core.Member { return core.Member{Name: f.name, Addr: f.name + ":1"} }

// stepForeign has such a node run, with the states named after it.
func stepForeign(w *World, args []string) func() {
	f := &foreign{name: args[0], states: map[string]*set{}}
	for _, key := range args[1:] {
		f.states[key] = new(set)
	}
	w.net.foreign = append(w.net.foreign, f)
	tell := func() {
		for _, p := range w.running() {
			w.net.tell(p)
		}
	}
	tell()
	return func() {
		w.net.foreign = slices.DeleteFunc(w.net.foreign, func(o *foreign) bool { return o == f })
		tell()
	}
}

// stepTold has a foreign node learn something.
func stepTold(w *World, args []string) func() {
	for _, f := range w.net.foreign {
		if st := f.states[args[1]]; f.name == args[0] && st != nil {
			st.add(w.newEntry(nil, args[1], true))
		}
	}
	return nil
}

// swap exchanges full states with p.
func (f *foreign) swap(p *process) {
	mine := p.full()
	theirs := &full{states: map[string][]byte{}, keys: slices.Sorted(maps.Keys(f.states))}
	for _, key := range theirs.keys {
		theirs.states[key] = f.states[key].encode(0)
		f.states[key].merge(decodeSet(mine.states[key]))
	}
	p.takeFull(theirs)
}

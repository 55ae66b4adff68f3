package statetest

import (
	"fmt"
	"testing"
)

// Fuzz has the standard fuzzer find bytes that Merge should not be given, from what states
// that maker makes marshal and broadcast: none makes a call panic or hang, and what is
// merged of them others merge, and changes nothing when it comes again.
func Fuzz(f *testing.F, maker Maker, o *Options) {
	f.Helper()
	opts := o.filled()
	if err := opts.usable(maker); err != nil {
		f.Fatal(err)
	}
	for i := range 4 {
		r := newRound(f, maker, opts, opts.Seed+uint64(i), 1+2*i)
		if err := r.history(); err != nil {
			f.Fatal(err)
		}
		for _, b := range append(r.marshalled, r.updates...) {
			f.Add(b)
		}
		r.end()
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRound(t, maker, opts, 1, 1)
		defer r.end()
		if err := r.takesAny(b); err != nil {
			t.Error(err)
		}
	})
}

// takesAny merges b, which may be anything.
func (r *round) takesAny(b []byte) error {
	m, err := r.member()
	if err != nil {
		return err
	}
	if err := m.takes(b); err != nil {
		return err
	}
	before, err := m.look()
	if err != nil {
		return err
	}
	if err := m.takes(b); err != nil {
		return err
	}
	after, err := m.look()
	if err != nil {
		return err
	}
	if text := before.differs(after); text != "" {
		return fmt.Errorf("idempotent: what was merged changes nothing when it is merged again: %s", text)
	}
	all, err := m.marshal()
	if err != nil {
		return err
	}
	again, err := r.made(all)
	if err != nil {
		return err
	}
	if err := same(m, again); err != nil {
		return fmt.Errorf("round trip: what was merged others merge: %w", err)
	}
	return nil
}

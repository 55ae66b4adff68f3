package conformance

import (
	"context"
	"fmt"
	"sync"
	"time"
)

var positionChecks = []*check{
	{name: "position/dense-and-unique", level: basic, rules: []int{15}, body: positionDenseAndUnique,
		holds: "five nodes have the positions 0 to 4"},
	{name: "position/is-index-of-self", level: basic, rules: []int{15}, body: positionIsIndexOfSelf,
		holds: "within one view the position is always the index of self"},
	{name: "position/shifts-on-leave", level: basic, rules: []int{17}, body: positionShiftsOnLeave,
		holds: "when the first leaves, the others move up by one"},
	{name: "position/steady-under-load", level: basic, rules: []int{17}, body: positionSteadyUnderLoad,
		holds: "a load of sixteen writers changes no position"},
}

func positionDenseAndUnique(e *env) {
	nodes := e.openAll("d", "b", "e", "a", "c")
	for i, j := range []int{3, 1, 4, 0, 2} {
		if p := nodes[i].Position(); p != j {
			e.Errorf("%s has position %d of 5, want %d", nodes[i], p, j)
		}
	}
}

func positionIsIndexOfSelf(e *env) {
	m := e.open("m")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	samples := 0
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for epoch := uint64(0); ctx.Err() == nil; <-tick.C {
			v := m.View()
			if err := sound(v, m); err != nil {
				e.Errorf("under churn: %v", err)
				return
			}
			if v.Epoch < epoch {
				e.Errorf("under churn: epoch %d came after %d", v.Epoch, epoch)
				return
			}
			epoch = v.Epoch
			samples++
		}
	})
	for i := range 4 {
		before, after := e.open(fmt.Sprintf("a%d", i)), e.open(fmt.Sprintf("z%d", i))
		e.agreed(before, m, after)
		if p := m.Position(); p != 1 {
			e.Errorf("between %s and %s m has position %d", before, after, p)
		}
		before.close()
		after.close()
		e.agreed(m)
	}
	cancel()
	wg.Wait()
	if samples == 0 {
		e.Errorf("nothing was sampled")
	}
}

func positionShiftsOnLeave(e *env) {
	nodes := e.openAll("a", "b", "c", "d")
	for len(nodes) > 1 {
		start := time.Now()
		nodes[0].close()
		nodes = nodes[1:]
		e.withinSince(start, leave, "the others move down by one", func() error {
			for i, n := range nodes {
				if p := n.Position(); p != i {
					return fmt.Errorf("%s has position %d, want %d", n, p, i)
				}
			}
			return agree(nodes...)
		})
	}
}

func positionSteadyUnderLoad(e *env) {
	nodes := e.openAll("a", "b", "c")
	sets := addSets("set", nodes)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	const writers = 16
	for i := range writers {
		wg.Go(func() {
			tick := time.NewTicker(e.scaled(5 * time.Millisecond))
			defer tick.Stop()
			for ctx.Err() == nil {
				sets[i%len(sets)].write(make([]byte, 500))
				<-tick.C
			}
		})
	}
	e.unchanged(3*e.h.Timing.Detect, nodes...)
	cancel()
	wg.Wait()
	total := 0
	for _, s := range sets {
		total += s.written()
	}
	e.eventually(e.limit(joiner)*2, "the sets are equal in the end", func() error { return holdAll(total, sets...) })
}

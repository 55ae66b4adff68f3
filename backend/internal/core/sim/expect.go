package sim

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

var readiness = map[string]float64{
	"settling": float64(core.Settling), "synced": float64(core.Synced), "alone": float64(core.Alone), "timedout": float64(core.TimedOut),
}

// stepExpect compares a quantity with a number.
func stepExpect(w *World, args []string) func() {
	n := len(args)
	if n < 3 {
		panic("expect wants a quantity, one of <= >= ==, and a number")
	}
	value := w.quantity(args[:n-2])
	limit, named := readiness[args[n-1]]
	if !named {
		var err error
		if limit, err = strconv.ParseFloat(args[n-1], 64); err != nil {
			panic(err)
		}
	}
	line := fmt.Sprintf("%v %s", w.now, strings.Join(args, " "))
	w.figures = append(w.figures, Figure{Line: line, Value: value, Limit: limit})
	w.say("", "%s is %g", strings.Join(args[:n-2], " "), value)
	var ok bool
	switch args[n-2] {
	case "<=":
		ok = value <= limit
	case ">=":
		ok = value >= limit
	case "==":
		ok = value == limit
	default:
		panic("no such comparison: " + args[n-2])
	}
	if !ok {
		w.fail("expected %s, it is %g", strings.Join(args, " "), value)
	}
	return nil
}

// quantity returns what words name: a count of the tally, or something of a node.
func (w *World) quantity(words []string) float64 {
	if len(words) == 1 {
		return w.tally.counts[words[0]]
	}
	p := w.live[words[1]]
	if words[0] == "running" {
		return truth(p != nil)
	}
	if p == nil || p.view == nil {
		return -1
	}
	switch words[0] {
	case "members":
		return float64(len(p.view.Members))
	case "lists": // lists a b : a process of b that runs
		q := w.live[words[2]]
		return truth(q != nil && p.lists(q.instance))
	case "names": // names a b : how many members of that name a lists
		n := 0
		for _, m := range p.view.Members {
			if m.Name == words[2] {
				n++
			}
		}
		return float64(n)
	case "position":
		return float64(p.view.Position)
	case "attached":
		return truth(p.view.Status == core.Attached)
	case "partial": // attached, and without some of those who run
		return truth(p.view.Status == core.Attached && len(p.view.Members) < len(w.running()))
	case "isolated":
		return truth(p.view.Isolated)
	case "disputed":
		return float64(len(p.view.Disputed))
	case "ready":
		return float64(p.view.Ready)
	case "unready":
		return float64(len(p.view.Unready))
	case "entries": // entries a s
		return float64(p.states[words[2]].set.count())
	case "lacks": // lacks a s : what another live one has
		var union set
		for _, q := range w.running() {
			if st := q.states[words[2]]; st != nil {
				union.merge(st.set)
			}
		}
		have := p.states[words[2]].set
		return float64(union.count() - have.count())
	case "reach": // reach a : how much its core holds
		return float64(measure(p.core, nil).bytes)
	case "knows": // knows a b : how often its core holds the names of former processes of b
		former := map[string]bool{}
		for _, q := range w.procs {
			if q.name == words[2] && q.phase == gone {
				former[q.instance] = true
			}
		}
		return float64(measure(p.core, former).found)
	}
	panic("no such quantity: " + strings.Join(words, " "))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// lists reports whether p's view holds the instance.
func (p *process) lists(instance string) bool {
	if p.view == nil {
		return false
	}
	for _, m := range p.view.Members {
		if m.Instance == instance {
			return true
		}
	}
	return false
}

// stepWhole wants all states of a key to be equal.
func stepWhole(w *World, args []string) func() {
	if lack := w.check.lacking(); lack != "" {
		w.fail("%s", lack)
	}
	return nil
}

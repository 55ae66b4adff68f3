package replicated_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/replicated"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// makers are of each type of the package.
var makers = map[string]statetest.Maker{
	"map": func(t testing.TB) statetest.Subject {
		m, err := replicated.NewMap[string, int](nil)
		if err != nil {
			t.Fatal(err)
		}
		return statetest.Subject{
			State: m, Attach: m.Attach, Close: m.Close,
			Change: func(r *rand.Rand) error {
				key := fmt.Sprint(r.IntN(6))
				switch r.IntN(6) {
				case 0:
					return m.Delete(key)
				case 1:
					return m.SetTTL(key, r.IntN(100), time.Hour)
				default:
					return m.Set(key, r.IntN(100))
				}
			},
			Content: func() string {
				var all []string
				for k, v := range m.All() {
					all = append(all, fmt.Sprint(k, "=", v))
				}
				slices.Sort(all)
				return strings.Join(all, " ")
			},
		}
	},
	"set": func(t testing.TB) statetest.Subject {
		s, err := replicated.NewSet[int](nil)
		if err != nil {
			t.Fatal(err)
		}
		return statetest.Subject{
			State: s, Attach: s.Attach, Close: s.Close,
			Change: func(r *rand.Rand) error {
				if r.IntN(3) == 0 {
					return s.Remove(r.IntN(4))
				}
				return s.Add(r.IntN(4))
			},
			Content: func() string { return fmt.Sprint(slices.Sorted(s.All())) },
		}
	},
	"counter": func(t testing.TB) statetest.Subject {
		c, err := replicated.NewCounter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return statetest.Subject{
			State: c, Attach: c.Attach, Close: c.Close,
			Change:  func(r *rand.Rand) error { return c.Add(int64(r.IntN(20) - 10)) },
			Content: func() string { return fmt.Sprint(c.Value()) },
		}
	},
	"growing counter": func(t testing.TB) statetest.Subject {
		c, err := replicated.NewGrowCounter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return statetest.Subject{
			State: c, Attach: c.Attach, Close: c.Close,
			Change:  func(r *rand.Rand) error { return c.Add(uint64(r.IntN(20))) },
			Content: func() string { return fmt.Sprint(c.Value()) },
		}
	},
	"register": func(t testing.TB) statetest.Subject {
		v, err := replicated.NewRegister[string](nil)
		if err != nil {
			t.Fatal(err)
		}
		return statetest.Subject{
			State: v, Attach: v.Attach, Close: v.Close,
			Change: func(r *rand.Rand) error {
				if r.IntN(5) == 0 {
					return v.Delete()
				}
				return v.Set(fmt.Sprint(r.IntN(100)))
			},
			Content: func() string { s, ok := v.Get(); return fmt.Sprint(s, ok) },
		}
	},
}

func TestLaws(t *testing.T) {
	for name, maker := range makers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statetest.Check(t, maker, nil)
		})
	}
}

func TestSimulated(t *testing.T) {
	for name, maker := range makers {
		t.Run(name, func(t *testing.T) { statetest.Simulate(t, maker, nil) })
	}
}

func FuzzMap(f *testing.F) { statetest.Fuzz(f, makers["map"], nil) }

func FuzzSet(f *testing.F) { statetest.Fuzz(f, makers["set"], nil) }

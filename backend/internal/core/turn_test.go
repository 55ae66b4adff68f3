package core

import (
	"testing"
	"time"
)

func TestTurn(t *testing.T) {
	type view struct {
		at                 time.Duration
		position           int
		attached, isolated bool
	}
	const turn = 15 * time.Second
	for name, c := range map[string]struct {
		views []view
		comes time.Duration
	}{
		"the first at once":                  {[]view{{0, 0, true, false}}, 0},
		"the third after two":                {[]view{{0, 2, true, false}}, 2 * turn},
		"sooner when one in front leaves":    {[]view{{0, 2, true, false}, {time.Second, 1, true, false}}, turn},
		"later when one joins in front":      {[]view{{0, 1, true, false}, {time.Second, 2, true, false}}, 2 * turn},
		"not while detached":                 {[]view{{0, 0, false, false}, {7 * time.Second, 0, true, false}}, 7 * time.Second},
		"after grace":                        {[]view{{0, 0, false, false}, {10 * time.Second, 0, false, true}}, 10 * time.Second},
		"not sooner for losing the others":   {[]view{{0, 2, true, false}, {time.Second, 2, false, false}, {11 * time.Second, 0, false, true}}, 2 * turn},
		"not sooner where it began detached": {[]view{{0, 1, false, false}, {10 * time.Second, 0, false, true}}, turn},
		"after a look when isolated before":  {[]view{{0, 0, false, true}}, isolatedTurn},
		"a cut that ends during the look":    {[]view{{0, 0, false, true}, {time.Second, 1, true, false}}, turn},
		"a cut that ends before the turn":    {[]view{{0, 1, true, false}, {time.Second, 1, false, false}, {9 * time.Second, 1, true, false}}, turn},
		"a standstill over the turn":         {[]view{{0, 1, true, false}, {14 * time.Second, 1, false, false}, {21 * time.Second, 1, true, false}}, 21 * time.Second},
		"back from a cut in front of others": {[]view{{0, 1, true, false}, {time.Second, 1, false, false}, {9 * time.Second, 0, true, false}}, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewTurn(0, turn)
			views := c.views
			for now := time.Duration(0); now < time.Minute; now += 100 * time.Millisecond {
				for len(views) > 0 && views[0].at <= now {
					w.See(views[0].position, views[0].attached, views[0].isolated)
					views = views[1:]
				}
				if w.Left(now) == 0 {
					if c.comes != now {
						t.Errorf("the turn comes at %v, want %v", now, c.comes)
					}
					return
				}
			}
			t.Errorf("the turn does not come")
		})
	}
}

package canary

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeStandsStillWithTheProcess(t *testing.T) {
	c := &Canary{}
	start := time.Now()
	for i := range 100 {
		c.wake(start.Add(time.Duration(i)*beat), beat)
	}
	if all, worst := c.Late(start); c.Now() != 100*beat || all != 0 || worst != 0 {
		t.Errorf("after 100 beats in time: %v has passed, late %v and at most %v", c.Now(), all, worst)
	}
	c.wake(start.Add(2*time.Second), time.Second)
	c.wake(start.Add(3*time.Second), 40*time.Millisecond)
	if want := 102*beat + 2*slack; c.Now() != want {
		t.Errorf("after a second in which nothing ran %v has passed, want %v", c.Now(), want)
	}
	all, worst := c.Late(start)
	if wantAll := 1040*time.Millisecond - 2*(beat+slack); all != wantAll || worst != time.Second-beat-slack {
		t.Errorf("late %v and at most %v, want %v and %v", all, worst, wantAll, time.Second-beat-slack)
	}
	if _, worst := c.Late(start.Add(2 * time.Second)); worst != 25*time.Millisecond {
		t.Errorf("late at most %v since then, want 25ms", worst)
	}
}

func TestRemembersABoundedTime(t *testing.T) {
	c := &Canary{}
	start := time.Now()
	for i := range 3 * remembers {
		c.wake(start.Add(time.Duration(i)*time.Second), time.Second)
	}
	if len(c.late) > remembers {
		t.Errorf("%d latenesses are kept, want at most %d", len(c.late), remembers)
	}
}

func TestIsInTimeWhereNothingElseRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, start := Start(), time.Now()
		<-time.After(time.Minute)
		if all, _ := c.Late(start); all != 0 || c.Now() < time.Minute-2*beat {
			t.Errorf("after a minute %v has passed, late %v", c.Now(), all)
		}
		c.End()
	})
}

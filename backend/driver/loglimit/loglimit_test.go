package loglimit_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
)

// lines logs count lines of a kind and shows the result of each: the number
// that was suppressed before, or "-" if it was itself suppressed.
func lines(l *loglimit.Limiter, kind string, count int) string {
	var all []string
	for range count {
		shown := "-"
		if n, ok := l.Allow(kind); ok {
			shown = fmt.Sprint(n)
		}
		all = append(all, shown)
	}
	return strings.Join(all, " ")
}

func TestLinesOfAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("lines %q, want %q", got, want)
			}
		}
		var zero loglimit.Limiter
		want(lines(&zero, "a", 3), "0 - -")
		want(lines(&zero, "b", 2), "0 -")
		<-time.After(time.Minute - 1)
		want(lines(&zero, "a", 1), "-")
		<-time.After(1)
		want(lines(&zero, "a", 2), "3 -")

		three := loglimit.Limiter{Burst: 3, Every: time.Second}
		want(lines(&three, "a", 5), "0 0 0 - -")
		<-time.After(time.Second)
		want(lines(&three, "a", 4), "2 0 0 -")
	})
}

// Kinds without end neither grow without end nor silence each other for good.
func TestManyKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l loglimit.Limiter
		logged := 0
		for i := range 10_000 {
			if _, ok := l.Allow(fmt.Sprint(i)); ok {
				logged++
			}
		}
		if logged < 200 || logged > 300 {
			t.Errorf("%d of 10,000 lines, each of its own kind, were logged", logged)
		}
		<-time.After(time.Minute)
		if got := lines(&l, "another", 2); got != "0 -" {
			t.Errorf("afterwards: %q", got)
		}
	})
}

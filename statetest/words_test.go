package statetest_test

import (
	"testing"

	"github.com/clusterchannel/clusterchannel/statetest"
)

// The state of the example is a sound one.
func TestWords(t *testing.T) {
	statetest.Check(t, newWords, nil)
	statetest.Simulate(t, newWords, nil)
}

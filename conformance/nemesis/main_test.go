package nemesis

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brief is for how long faults begin in the tests.
const brief = 8 * time.Second

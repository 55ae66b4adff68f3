package params

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Bad returns an error that wraps driver.ErrConfig and what format wraps, and
// names the key: "bad configuration: pool_size: 0 is too small; at least 1 is
// valid". The text says what is wrong and what to do, and shows no secret.
func Bad(key, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", driver.ErrConfig, key, fmt.Errorf(format, args...))
}

// OrDefault sets *value to fallback where it is zero. A negative one is an error
// of [Bad]: for options in Go, whose zero value means the default. Of several
// calls, cmp.Or returns the first error.
func OrDefault[T ~int | ~int64](key string, value *T, fallback T) error {
	switch {
	case *value < 0:
		return Bad(key, "%v is negative (0 means the default, %v)", *value, fallback)
	case *value == 0:
		*value = fallback
	}
	return nil
}

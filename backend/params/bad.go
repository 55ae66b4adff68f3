package params

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// An Error says that the value of a key cannot be used. It wraps driver.ErrConfig
// and its cause.
type Error struct {
	Key string
	Err error // what is wrong, without the key
}

// Error returns the key and the cause.
func (e *Error) Error() string { return fmt.Sprintf("%v: %s: %v", driver.ErrConfig, e.Key, e.Err) }

// Unwrap returns driver.ErrConfig and the cause.
func (e *Error) Unwrap() []error { return []error{driver.ErrConfig, e.Err} }

// Bad returns an [Error] that wraps what format wraps: "bad configuration:
// pool_size: 0 is too small; at least 1 is valid". The text says what is wrong and
// what to do, and shows no secret.
func Bad(key, format string, args ...any) error {
	return &Error{Key: key, Err: fmt.Errorf(format, args...)}
}

// OrDefault sets *value to fallback if it is zero. A negative one is an error
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

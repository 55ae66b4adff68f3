package backend

import (
	"errors"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// The errors of this package. Each is wrapped with what happened and the way
// out; test with errors.Is.
var (
	// ErrConfig: Open or AddState was given something it cannot use. The text
	// names the key and the valid values.
	ErrConfig = driver.ErrConfig

	// ErrUnknownBackend: Config.Backend names no registered backend. It wraps
	// ErrConfig too.
	ErrUnknownBackend = errors.New("unknown backend")

	// ErrUnavailable: the server or the peers cannot be reached. Open returns it
	// only where OnStartFailure is Fail; else it shows in View().Err.
	ErrUnavailable = driver.ErrUnavailable

	// ErrTooLarge: a payload is above Config.MaxPayload.
	ErrTooLarge = driver.ErrTooLarge

	// ErrQueueFull: a payload was dropped since the outbound queue is full.
	ErrQueueFull = errors.New("queue full")

	// ErrNameConflict: another live member has this node's name. Both stay members,
	// at two positions. It shows in View().Err.
	ErrNameConflict = errors.New("name conflict")

	// ErrNoEcho: the link looks healthy but delivers nothing. It shows in
	// View().Err while the node re-opens its driver.
	ErrNoEcho = errors.New("own frames are not delivered")

	// ErrClosed: the channel was closed, or the state removed.
	ErrClosed = driver.ErrClosed
)

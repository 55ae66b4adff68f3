package backend

import (
	"errors"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// The errors of this package. Each is wrapped with what happened and what
// to do; test with errors.Is.
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
	ErrNameConflict = core.ErrNameConflict

	// ErrNoEcho: the link looks healthy but delivers nothing. It shows in
	// View().Err while the node re-opens its driver.
	ErrNoEcho = core.ErrDeaf

	// ErrCatchingUp: the node was away and is heard again, and merges what came
	// meanwhile before it says that it is attached. It shows in View().Err.
	ErrCatchingUp = core.ErrCatchingUp

	// ErrUnlisted: most of the other members do not hear this node. It shows in
	// View().Err.
	ErrUnlisted = core.ErrUnlisted

	// ErrClosed: the channel was closed, or the state removed.
	ErrClosed = driver.ErrClosed
)

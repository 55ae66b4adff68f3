package replicated

import "errors"

// The errors of this package. Each is wrapped with the key, with what happened and
// what to do; test with errors.Is. Besides them there are backend.ErrConfig for bad
// options, backend.ErrTooLarge for what is above max_payload, and backend.ErrClosed
// after Close, or that of the node.
var (
	// ErrCodec: a key or a value cannot be encoded, or not decoded again, or not to the
	// same, or its codec panics.
	ErrCodec = errors.New("not encodable")

	// ErrFull: there is room for no more, by Options.MaxEntries or MaxBytes.
	ErrFull = errors.New("full")

	// ErrType: an update is of another type than this one: another node has another
	// type under the same key.
	ErrType = errors.New("of another type")

	// ErrMalformed: bytes are no update.
	ErrMalformed = errors.New("malformed")

	// ErrVersion: an update or an entry is of a later version of this package, which the
	// node that wrote it has: upgrade this one.
	ErrVersion = errors.New("of a later version")

	// ErrAhead: an entry is of a time more than a day ahead of this node's clock:
	// either that clock is wrong, or the writer's was.
	ErrAhead = errors.New("of a time to come")
)

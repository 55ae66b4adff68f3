// Package wire is the encoding of frames: a protobuf superset of Alertmanager's
// clusterpb.Part and clusterpb.FullState, with field numbers of its own.
package wire

// Updates calls yield with each update of frame, in order, as a frame of its
// own that Alertmanager's peers understand too: a clusterpb.Part with further
// fields. It yields nothing when frame is of another kind or damaged. The slices
// alias frame.
func Updates(frame []byte, yield func(part []byte) bool) { panic("being written") }

//go:build !race

package conformance

const raceScale = 1

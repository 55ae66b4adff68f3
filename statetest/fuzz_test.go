package statetest

import "testing"

func FuzzVotes(f *testing.F) { Fuzz(f, made("", asParted), nil) }

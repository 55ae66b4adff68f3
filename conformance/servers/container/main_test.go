package container

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that the package leaves nothing behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if _, err := Engine(); err == nil && code == 0 {
		if left := leftBehind(); left != nil {
			fmt.Fprintln(os.Stderr, left)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leftBehind names what of this process is still on the engine.
func leftBehind() error {
	e, err := connected()
	if err != nil {
		return err
	}
	all, err := e.owned(context.Background())
	if err != nil {
		return err
	}
	for _, some := range []map[string]string{all.containers, all.networks} {
		for id, label := range some {
			if label == self().String() {
				return fmt.Errorf("%s is left behind", id)
			}
		}
	}
	return nil
}

//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "once: it needs Linux, for network namespaces")
	os.Exit(1)
}

// Package program finds the programs that are measured.
package program

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Find looks up a program in PATH, and where conformance/images/build leaves
// those that no package of the system has.
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	made, missing := Made(name)
	if missing != nil {
		return "", err
	}
	return made, nil
}

// Made returns a program that conformance/images/build made.
func Made(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return exec.LookPath(filepath.Join(cache, "clusterchannel", "bin", name))
}

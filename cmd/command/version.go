package command

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/clusterchannel/clusterchannel/alertmanager"
)

// ownVersion is this program's version: its module's, or else its commit.
func ownVersion() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := build.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range build.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return cmp.Or(build.Main.Version, "unknown")
}

// versionText is the output of --version.
func versionText(program string) string {
	return fmt.Sprintf("%s, version %s\n  alertmanager: %s\n  go version:   %s\n  platform:     %s/%s",
		program, ownVersion(), alertmanager.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

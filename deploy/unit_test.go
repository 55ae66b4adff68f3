package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const unit = "setups/clusterchannel.service"

func TestUnitGivesTimeToLeave(t *testing.T) {
	found := regexp.MustCompile(`(?m)^TimeoutStopSec=(\S+)$`).FindStringSubmatch(read(t, unit))
	if found == nil {
		t.Fatal("no TimeoutStopSec is set")
	}
	if limit, err := time.ParseDuration(found[1]); err != nil || limit <= shutDown*time.Second {
		t.Errorf("TimeoutStopSec=%s, %v: it may take %ds to end", found[1], err, shutDown)
	}
}

// TestUnitOfItself lets systemd verify the unit, if it is installed. The
// program is not where the unit expects it, so the test names another.
func TestUnitOfItself(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skipf("no systemd is installed: %v", err)
	}
	text := read(t, unit)
	copied := filepath.Join(t.TempDir(), filepath.Base(unit))
	stands := strings.Replace(text, "ExecStart=/usr/local/bin/clusterchannel ", "ExecStart=/bin/true ", 1)
	if stands == text {
		t.Fatal("the unit starts no /usr/local/bin/clusterchannel")
	}
	if err := os.WriteFile(copied, []byte(stands), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", copied).CombinedOutput()
	if err != nil || strings.Contains(string(out), filepath.Base(unit)) {
		t.Errorf("%v: %s", err, out)
	}
}

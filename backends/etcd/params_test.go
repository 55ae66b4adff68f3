package etcd

import (
	"errors"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// What is no endpoint is refused by key, and shows no password.
func TestBadEndpoints(t *testing.T) {
	for _, endpoint := range []string{
		"ftp://me:s3cret@h:2379", "https://me:s3cret@h:2379", "http://me:s3cret@h:2379", "me:s3cret@h:2379", "s3cret@h:2379", "h:2379?password=s3cret",
		"unix://h?password=s3cret", "https://h:2379/?password=s3cret",
	} {
		_, err := parse(map[string]string{"endpoints": "other:2379," + endpoint})
		if !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "endpoints: ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want it refused by its key, without the password", endpoint, err)
		}
	}
}

// Who leaves max_frame as it is has the bound that the package comment tells.
func TestDefaultBoundsTheLog(t *testing.T) {
	p, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if most := 2 * leastKept * p.MaxFrame; most != 625<<20 {
		t.Errorf("etcd keeps frames of %v at most, want 625MiB", most)
	}
}

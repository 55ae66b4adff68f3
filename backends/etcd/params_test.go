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

package params_test

import (
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

func TestClosest(t *testing.T) {
	known := []string{"address", "listen_address", "peers", "password", "db"}
	for name, want := range map[string]string{
		"adress":         "address",
		"listen-address": "listen_address",
		"peer":           "peers",
		"pasword":        "password",
		"bd":             "",
		"zone":           "",
		"":               "",
		"pässword":       "password",
	} {
		if got := params.Closest(name, known); got != want {
			t.Errorf("Closest(%q) = %q, want %q", name, got, want)
		}
	}
}

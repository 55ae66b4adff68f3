package params_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

func TestBad(t *testing.T) {
	err := params.Bad("file", "%q: %w", "a", io.EOF)
	if !errors.Is(err, driver.ErrConfig) || !errors.Is(err, io.EOF) || err.Error() != `bad configuration: file: "a": EOF` {
		t.Errorf("%v", err)
	}
}

func TestOrDefault(t *testing.T) {
	for _, test := range []struct {
		value, want time.Duration
		err         string
	}{
		{0, time.Minute, ""},
		{time.Second, time.Second, ""},
		{-time.Second, -time.Second, "bad configuration: wait: -1s is negative (0 means the default, 1m0s)"},
	} {
		v := test.value
		err := params.OrDefault("wait", &v, time.Minute)
		if v != test.want || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%v becomes %v, %v; want %v, %q", test.value, v, err, test.want, test.err)
		}
	}
}

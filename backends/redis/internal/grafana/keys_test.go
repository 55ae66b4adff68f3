package grafana

import "testing"

func TestOwnKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"a+abcdefghij234": true, "x:a+abcdefghij234": true, "a+b+abcdefghij234": true, "+abcdefghij234": false,
		"a+abcdefghij23": false, "a+abcdefghij2345": false, "a+Abcdefghij234": false, "a": false, "": false, "peer-0b5c": false,
	} {
		if got := isOwnKey(key); got != want {
			t.Errorf("isOwnKey(%q) is %v", key, got)
		}
	}
}

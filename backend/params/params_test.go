package params_test

import (
	"errors"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

type tls struct {
	CA string `param:"tls_ca"`
}

type mode string

type block struct {
	Address  []string      `param:"listen_address" alias:"address" default:"a:1, b:2"`
	DB       int           `param:"db" default:"3"`
	Port     uint16        `param:"port"`
	Password string        `param:"password" secret:"true"`
	PIN      int           `param:"pin" secret:"true"`
	Mode     mode          `param:"mode" default:"single" oneof:"single,sentinel"`
	Timeout  time.Duration `param:"timeout" default:"5s"`
	Buffer   params.Bytes  `param:"buffer" default:"1MiB"`
	TLS      bool          `param:"tls"`
	Level    slog.Level    `param:"level" default:"WARN"`
	tls
	untagged string
}

func TestDecodeDefaults(t *testing.T) {
	b := block{untagged: "kept"}
	if err := params.Decode(nil, &b); err != nil {
		t.Fatal(err)
	}
	want := block{
		Address: []string{"a:1", "b:2"}, DB: 3, Mode: "single", Timeout: 5 * time.Second,
		Buffer: 1 << 20, Level: slog.LevelWarn, untagged: "kept",
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("Decode(nil) = %+v, want %+v", b, want)
	}
}

func TestDecode(t *testing.T) {
	raw := map[string]string{
		"address": " x:1 ,y:2", "db": "-10", "port": "65535", "password": "s3cret", "pin": "12", "mode": "sentinel",
		"timeout": "1m30s", "buffer": "1.5KiB", "tls": "true", "level": "ERROR+2", "tls_ca": "/ca",
	}
	before := maps.Clone(raw)
	var b block
	if err := params.Decode(raw, &b); err != nil {
		t.Fatal(err)
	}
	want := block{
		Address: []string{"x:1", "y:2"}, DB: -10, Port: 65535, Password: "s3cret", PIN: 12, Mode: "sentinel",
		Timeout: 90 * time.Second, Buffer: 1536, TLS: true, Level: slog.LevelError + 2, tls: tls{CA: "/ca"},
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("Decode = %+v, want %+v", b, want)
	}
	if !maps.Equal(raw, before) {
		t.Errorf("Decode changed its input: %v", raw)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		key, value string
		texts      []string // beside the key
	}{
		{"adress", "x", []string{`did you mean "address"`, "buffer, db, level, listen_address, mode, password, pin, port, timeout, tls, tls_ca"}},
		{"listen-address", "x", []string{`did you mean "listen_address"`}},
		{"zone", "s3cret", []string{"known keys"}},
		{"", "s3cret", []string{"known keys"}},
		{"listen_address", "a,,b", []string{`"a,,b"`, "empty item"}},
		{"listen_address", "a,", []string{"empty item"}},
		{"db", "", []string{"integer"}},
		{"db", "x", []string{`"x"`, "integer"}},
		{"db", "0x10", []string{"integer"}},
		{"db", "1.5", []string{"integer"}},
		{"db", "9223372036854775808", []string{"-9223372036854775808 to 9223372036854775807"}},
		{"port", "65536", []string{"0 to 65535"}},
		{"port", "-1", []string{"0 to 65535"}},
		{"pin", "s3cret", []string{"not shown"}},
		{"mode", "cluster", []string{`"cluster"`, "single, sentinel"}},
		{"timeout", "5", []string{`"5"`, "unit"}},
		{"timeout", "", []string{"unit"}},
		{"timeout", "-5s", []string{`"-5s"`, "negative"}},
		{"buffer", "1 potato", []string{"16MiB"}},
		{"buffer", "-1", []string{"16MiB"}},
		{"buffer", "", []string{"16MiB"}},
		{"buffer", "99999999999999999999", []string{"16MiB"}},
		{"buffer", "8EiB", []string{"16MiB"}},
		{"tls", "ja", []string{`"ja"`, "neither true nor false"}},
		{"tls", "", []string{"neither true nor false"}},
		{"level", "loud", []string{`"loud"`, "slog.Level"}},
	} {
		var b block
		err := params.Decode(map[string]string{c.key: c.value}, &b)
		if !errors.Is(err, driver.ErrConfig) {
			t.Errorf("%s = %q: %v, want ErrConfig", c.key, c.value, err)
			continue
		}
		for _, text := range append(c.texts, c.key) {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s = %q: %v, want it to say %q", c.key, c.value, err, text)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the value: %v", c.key, err)
		}
	}
}

func TestDecodeEmptyTextAndList(t *testing.T) {
	b := block{}
	if err := params.Decode(map[string]string{"listen_address": "", "password": ""}, &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Address) != 0 || b.Password != "" {
		t.Errorf("Decode = %+v, want the empty values that were given, not the defaults", b)
	}
}

func TestDecodeAliasTwice(t *testing.T) {
	err := params.Decode(map[string]string{"address": "a:1", "listen_address": "b:1"}, &block{})
	if !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "listen_address") || !strings.Contains(err.Error(), "as address") {
		t.Errorf("Decode with a key and its alias: %v, want ErrConfig that names both", err)
	}
}

func TestDecodeRequired(t *testing.T) {
	type required struct {
		Address string `param:"address" alias:"host" required:"true"`
	}
	for _, raw := range []map[string]string{nil, {"address": ""}, {"host": ""}} {
		err := params.Decode(raw, &required{})
		if !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "address: is required") {
			t.Errorf("Decode(%v): %v, want ErrConfig that names address", raw, err)
		}
	}
	for _, raw := range []map[string]string{{"address": "x"}, {"host": "x"}} {
		if err := params.Decode(raw, &required{}); err != nil {
			t.Errorf("Decode(%v): %v", raw, err)
		}
	}
}

func TestDecodeMistakesOfAProgram(t *testing.T) {
	type badDefault struct {
		D time.Duration `param:"d" default:"5"`
	}
	type noName struct {
		D string `param:""`
	}
	type hidden struct {
		d string `param:"d"`
	}
	for _, into := range []any{nil, block{}, (*block)(nil), new(string), &badDefault{}, &noName{}, &hidden{d: ""}} {
		if err := params.Decode(nil, into); err == nil {
			t.Errorf("Decode into %T: no error", into)
		}
	}
}

func TestOverlay(t *testing.T) {
	b := block{DB: 7, Timeout: time.Second}
	if err := params.Overlay(map[string]string{"db": "8"}, &b); err != nil {
		t.Fatal(err)
	}
	if want := (block{DB: 8, Timeout: time.Second}); !reflect.DeepEqual(b, want) {
		t.Errorf("Overlay = %+v, want %+v", b, want)
	}
	if err := params.Overlay(map[string]string{"nope": "8"}, &b); !errors.Is(err, driver.ErrConfig) {
		t.Errorf("Overlay of an unknown key: %v, want ErrConfig", err)
	}
}

func TestKeys(t *testing.T) {
	keys := params.Keys(block{})
	if !reflect.DeepEqual(keys, params.Keys(&block{})) {
		t.Error("Keys of a struct and of a pointer differ")
	}
	var names, types []string
	for _, k := range keys {
		names, types = append(names, k.Name), append(types, k.Type)
	}
	wantNames := strings.Fields("listen_address db port password pin mode timeout buffer tls level tls_ca")
	wantTypes := strings.Fields("list integer integer string integer string duration size bool slog.Level string")
	if !slices.Equal(names, wantNames) || !slices.Equal(types, wantTypes) {
		t.Errorf("Keys = %q of types %q, want %q of types %q", names, types, wantNames, wantTypes)
	}
	want := params.Key{Name: "mode", Type: "string", Default: "single", OneOf: []string{"single", "sentinel"}}
	if !reflect.DeepEqual(keys[5], want) {
		t.Errorf("Keys[5] = %+v, want %+v", keys[5], want)
	}
	if !keys[3].Secret || keys[0].Alias != "address" {
		t.Errorf("Keys = %+v, want password secret and the alias address", keys)
	}
}

func TestRedact(t *testing.T) {
	raw := map[string]string{"address": "a:1", "password": "s3cret", "pin": "", "pasword": "s3cret", "": "s3cret"}
	got := params.Redact(raw, block{})
	want := map[string]string{"address": "a:1", "password": "<secret>", "pin": "", "pasword": "<secret>", "": "<secret>"}
	if !maps.Equal(got, want) {
		t.Errorf("Redact = %v, want %v", got, want)
	}
}

func TestBytesRoundTrip(t *testing.T) {
	for text, want := range map[string]params.Bytes{
		"0": 0, "1": 1, "65536": 65536, "16MiB": 16 << 20, "1MB": 1_000_000, "1kB": 1000, "1MiB1KiB": 1<<20 + 1<<10, "0.5KiB": 512,
	} {
		var b, again params.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("UnmarshalText(%q) = %d, %v, want %d", text, b, err, want)
		}
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%d reads back from %q as %d, %v", b, b.String(), again, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, k := range params.Keys(block{}) {
		f.Add(k.Name, k.Default)
	}
	f.Add("nope", "1")
	f.Add("buffer", "8EiB")
	f.Fuzz(func(t *testing.T, key, value string) {
		var b block
		err := params.Decode(map[string]string{key: value}, &b)
		switch {
		case err != nil && !errors.Is(err, driver.ErrConfig):
			t.Errorf("%q = %q: %v, want ErrConfig", key, value, err)
		case err != nil && !strings.Contains(err.Error(), "known key") && !strings.Contains(err.Error(), "listen_address") && !strings.Contains(err.Error(), key):
			t.Errorf("%q = %q: %v does not name the key", key, value, err)
		case err != nil && key == "pin" && len(value) > 10 && strings.Contains(err.Error(), value):
			t.Errorf("%q = %q: %v shows a secret", key, value, err)
		case err == nil && (b.Timeout < 0 || b.Buffer < 0 || slices.Contains(b.Address, "")):
			t.Errorf("%q = %q: decoded as %+v", key, value, b)
		}
	})
}

func TestRedactText(t *testing.T) {
	raw := map[string]string{"password": "s3cret, and more", "address": "a:1", "db": "12", "zone": "some-where", "mode": "u:p@h", "pin": "7"}
	for text, want := range map[string]string{
		"refused s3cret":               "refused <secret>",
		"refused s3cret, and more!":    "refused <secret>!",
		"7 of 12 at a:1 in some-where": "7 of 12 at a:1 in <secret>",
		"u:p@h":                        "<secret>",
	} {
		if got := params.RedactText(text, raw, block{}); got != want {
			t.Errorf("RedactText(%q) = %q, want %q", text, got, want)
		}
	}
	// A secret that is a word is cut out only where a password stands: elsewhere the gap
	// would tell it.
	for secret, texts := range map[string]map[string]string{
		"redis": {
			"redis: WRONGPASS from redis://redis:6379, a redis": "redis: WRONGPASS from redis://redis:6379, a redis",
			"dial redis://u:redis@redis:6379":                   "dial redis://u:<secret>@redis:6379",
			`unknown command "AUTH\r\n$5\r\nredis\r\n"`:         `unknown command "AUTH\r\n$5\r\n<secret>\r\n"`,
			"host=redis password=redis db=redis":                "host=redis password=<secret> db=redis",
			`parse "redis": bad`:                                `parse "<secret>": bad`,
		},
		"6379": {"dial tcp 10.0.0.1:6379: refused, as u:6379@h": "dial tcp 10.0.0.1:6379: refused, as u:<secret>@h"},
		"7":    {"7 of 7, password=7": "7 of 7, password=<secret>"},
		"a:1":  {`log in at "a:1" with password: a:1`: `log in at "a:1" with password: <secret>`},
	} {
		for text, want := range texts {
			if got := params.RedactText(text, map[string]string{"password": secret, "address": "a:1"}, block{}); got != want {
				t.Errorf("RedactText(%q) with the password %q = %q, want %q", text, secret, got, want)
			}
		}
	}
	if got := params.RedactText("a:1", raw, nil); got != params.Redacted {
		t.Errorf("of a backend that says nothing of its keys: %q", got)
	}
}

// Package params decodes a backend's block of parameters, strictly, into a
// struct that describes it:
//
//	type params struct {
//		Address  []string      `param:"address" default:"localhost:6379"`
//		DB       int           `param:"db" alias:"path" default:"0"`
//		Password string        `param:"password" secret:"true"`
//		Mode     string        `param:"mode" default:"single" oneof:"single,sentinel"`
//		Timeout  time.Duration `param:"timeout" default:"5s"`
//		Buffer   params.Bytes  `param:"buffer" default:"1MiB"`
//	}
//
// A field with a param tag is a key; others are left alone. Keys of an embedded
// struct, such as those of TLS in package clienttls, count as the outer struct's
// own. The tags:
//
//   - param: the key, in lower case with underscores
//   - alias: a second name of the key, for example that of a part of a URL
//     (address, username, password, path); giving both is an error
//   - default: the value when the key is not given
//   - required: "true" if the key must be given, and must not be empty
//   - secret: "true" if no error may show the value
//   - oneof: the comma-separated values that are valid
//
// The types: string; bool (true, false); integers (decimal, within the type's
// range); [time.Duration] (with a unit, never negative); [Bytes]; []string
// (comma-separated, spaces trimmed, no item empty); and what implements
// [encoding.TextUnmarshaler].
package params

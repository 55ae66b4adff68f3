package command

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// backendFlags are a backend's flags, as a struct that kong fills in: field i
// is flag i.
type backendFlags struct {
	backend string
	flags   []driver.Flag
	plugin  reflect.Value // a pointer to the struct
}

// allBackendFlags returns the flags of each registered backend that has some,
// in the order of names, with nothing filled in. If two backends have the same
// flag, the first one gets it.
func allBackendFlags() []backendFlags {
	var all []backendFlags
	taken := map[string]bool{}
	for _, name := range backend.Registered() {
		b, _ := backend.Lookup(name)
		own := backendFlags{backend: name}
		var fields []reflect.StructField
		for _, f := range b.Flags {
			if taken[f.Name] {
				continue
			}
			taken[f.Name] = true
			own.flags = append(own.flags, f)
			fields = append(fields, fieldOf(f, paramKeys(b), len(fields)))
		}
		if len(fields) > 0 {
			own.plugin = reflect.New(reflect.StructOf(fields))
			all = append(all, own)
		}
	}
	return all
}

// fieldOf returns the field of a flag, with the type and the default of the
// parameter that it sets.
func fieldOf(f driver.Flag, keys []params.Key, number int) reflect.StructField {
	kind, fallback := f.Type, ""
	for _, k := range keys {
		if k.Name == f.Param {
			kind, fallback = k.Type, k.Default
		}
	}
	types := map[string]reflect.Type{
		"bool": reflect.TypeFor[bool](), "duration": reflect.TypeFor[time.Duration](), "list": reflect.TypeFor[[]string](),
	}
	typ, ok := types[kind]
	if !ok {
		typ = reflect.TypeFor[string]()
	}
	tag := fmt.Sprintf(`name:%q sep:"none" help:%q`, f.Name, f.Help)
	if kind == "bool" {
		tag += ` negatable:""`
	}
	if fallback != "" {
		tag += fmt.Sprintf(` default:%q`, fallback)
	}
	return reflect.StructField{Name: fmt.Sprintf("Flag%d", number), Type: typ, Tag: reflect.StructTag(tag)}
}

// flagOwner returns the backend that has a flag of that name; empty for none.
func flagOwner(name string) string {
	for _, b := range allBackendFlags() {
		for _, f := range b.flags {
			if f.Name == name {
				return b.backend
			}
		}
	}
	return ""
}

// with returns b with the struct that kong has filled in.
func (b backendFlags) with(plugin any) backendFlags {
	b.plugin = reflect.ValueOf(plugin)
	return b
}

// text returns the value of a flag as a parameter's text.
func (b backendFlags) text(i int) string {
	switch v := b.plugin.Elem().Field(i).Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}

// params returns the parameters that the flags set. A flag sets its parameter
// whether it is given or not, except that a duration of 0 leaves the backend's
// default.
func (b backendFlags) params() map[string]string {
	all := map[string]string{}
	for i, f := range b.flags {
		if f.Param == "" || b.plugin.Elem().Field(i).Interface() == time.Duration(0) {
			continue
		}
		all[f.Param] = b.text(i)
	}
	return all
}

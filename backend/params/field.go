package params

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// field is one key, and where its value goes.
type field struct {
	Key
	tag   reflect.StructTag
	value reflect.Value
}

func fieldsOf(into any) ([]field, error) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("params: %T is not a pointer to a struct", into)
	}
	return collect(v.Elem())
}

func collect(v reflect.Value) ([]field, error) {
	var fields []field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name, tagged := sf.Tag.Lookup("param")
		switch {
		case sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Struct:
			inner, err := collect(v.Field(i))
			if err != nil {
				return nil, err
			}
			fields = append(fields, inner...)
			continue
		case !tagged:
			continue
		case name == "" || !sf.IsExported():
			return nil, fmt.Errorf("params: field %s.%s: a key needs a name and an exported field", v.Type(), sf.Name)
		}
		f := field{tag: sf.Tag, value: v.Field(i), Key: Key{
			Name:     name,
			Alias:    sf.Tag.Get("alias"),
			Type:     typeName(sf.Type),
			Default:  sf.Tag.Get("default"),
			Secret:   sf.Tag.Get("secret") == "true",
			Required: sf.Tag.Get("required") == "true",
		}}
		if valid := sf.Tag.Get("oneof"); valid != "" {
			f.OneOf = strings.Split(valid, ",")
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[Bytes]():
		return "size"
	case t == reflect.TypeFor[[]string]():
		return "list"
	case readsText(t):
		return t.String()
	case isInteger(t.Kind()):
		return "integer"
	case t.Kind() == reflect.String, t.Kind() == reflect.Bool:
		return t.Kind().String()
	default:
		return t.String()
	}
}

// set decodes text into the field. Its error shows no part of a secret: a
// decoder's error may quote the value.
func (f field) set(text string) error {
	if f.OneOf != nil && !slices.Contains(f.OneOf, text) {
		return f.bad(text, "is none of "+strings.Join(f.OneOf, ", "))
	}
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:     f.value.Addr().Interface(),
		DecodeHook: hooks,
		ZeroFields: true,
	})
	if err != nil {
		return fmt.Errorf("params: %s: %w", f.Name, err)
	}
	if err := decoder.Decode(text); err != nil {
		return f.bad(text, f.complaint(err))
	}
	return nil
}

func (f field) bad(text, complaint string) error {
	if f.Secret {
		return Bad(f.Name, "the value (a secret, not shown) cannot be used")
	}
	return Bad(f.Name, "%q %s", shorten(text), complaint)
}

// shorten keeps an error readable, however long the key's value is.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

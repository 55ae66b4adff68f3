package params

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// hooks convert text to a value of the field's type. mapstructure's own for
// numbers and lists are laxer: "010" is octal for them, "a,,b" has three items.
var hooks = mapstructure.ComposeDecodeHookFunc(
	onText(duration),
	onText(list),
	onText(integer),
	onText(boolean),
	mapstructure.TextUnmarshallerHookFunc(),
)

// onText is a hook for values that are still text. parse returns nil for a type
// that is not its own.
func onText(parse func(text string, to reflect.Type) (any, error)) mapstructure.DecodeHookFuncType {
	return func(from, to reflect.Type, data any) (any, error) {
		text, ok := data.(string)
		if !ok {
			return data, nil
		}
		v, err := parse(text, to)
		if v == nil && err == nil {
			return data, nil
		}
		return v, err
	}
}

// notA is an error about a value, without the value.
type notA string

func (n notA) Error() string { return string(n) }

func duration(text string, to reflect.Type) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return nil, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return nil, notA("is not a duration with a unit, such as 500ms or 10s")
	case d < 0:
		return nil, notA("is negative")
	}
	return d, nil
}

func list(text string, to reflect.Type) (any, error) {
	if to != reflect.TypeFor[[]string]() {
		return nil, nil
	}
	items := []string{}
	if strings.TrimSpace(text) == "" {
		return items, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, notA("has an empty item between its commas")
		}
		items = append(items, item)
	}
	return items, nil
}

func isInteger(k reflect.Kind) bool { return reflect.Int <= k && k <= reflect.Uint64 }

// readsText reports whether t is left to its own UnmarshalText.
func readsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func integer(text string, to reflect.Type) (any, error) {
	if !isInteger(to.Kind()) || readsText(to) || to == reflect.TypeFor[time.Duration]() {
		return nil, nil
	}
	v := reflect.New(to).Elem()
	var err error
	if v.CanInt() {
		var n int64
		n, err = strconv.ParseInt(text, 10, to.Bits())
		v.SetInt(n)
	} else {
		var n uint64
		n, err = strconv.ParseUint(text, 10, to.Bits())
		v.SetUint(n)
	}
	if err != nil {
		return nil, notA(fmt.Sprintf("is not an integer within %s", rangeOf(v)))
	}
	return v.Interface(), nil
}

func rangeOf(v reflect.Value) string {
	bits := v.Type().Bits()
	if v.CanInt() {
		most := int64(1)<<(bits-1) - 1
		return fmt.Sprintf("%d to %d", -most-1, most)
	}
	return fmt.Sprintf("0 to %d", ^uint64(0)>>(64-bits))
}

func boolean(text string, to reflect.Type) (any, error) {
	if to.Kind() != reflect.Bool || readsText(to) {
		return nil, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return nil, notA("is neither true nor false")
	}
	return reflect.ValueOf(b).Convert(to).Interface(), nil
}

// complaint says what is wrong with the field's value, in the words of the hook
// that refused it.
func (f field) complaint(err error) string {
	if n, ok := errors.AsType[notA](err); ok {
		return string(n)
	}
	var decode *mapstructure.DecodeError
	if errors.As(err, &decode) {
		err = decode.Unwrap()
	}
	return fmt.Sprintf("is not a %s: %v", f.Type, err)
}

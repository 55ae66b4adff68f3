package sim

import "reflect"

// measured is what hangs on a value.
type measured struct {
	bytes int
	found int // strings, and keys, that were looked for
}

// measure walks all that v refers to, unexported fields included.
func measure(v any, look map[string]bool) measured {
	var m measured
	seen := map[visit]bool{}
	m.walk(reflect.ValueOf(v), look, seen)
	return m
}

type visit struct {
	at uintptr
	t  reflect.Type
}

func (m *measured) walk(v reflect.Value, look map[string]bool, seen map[visit]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[visit{v.Pointer(), v.Type()}] {
			return
		}
		seen[visit{v.Pointer(), v.Type()}] = true
		m.bytes += int(v.Type().Elem().Size())
		m.walk(v.Elem(), look, seen)
	case reflect.Interface:
		if !v.IsNil() {
			m.walk(v.Elem(), look, seen)
		}
	case reflect.String:
		m.bytes += v.Len()
		if look[v.String()] {
			m.found++
		}
	case reflect.Slice:
		if v.IsNil() || v.Cap() == 0 || seen[visit{v.Pointer(), v.Type()}] {
			return
		}
		seen[visit{v.Pointer(), v.Type()}] = true
		m.bytes += v.Cap() * int(v.Type().Elem().Size())
		if plain(v.Type().Elem().Kind()) {
			return
		}
		for i := range v.Len() {
			m.walk(v.Index(i), look, seen)
		}
	case reflect.Array:
		if plain(v.Type().Elem().Kind()) {
			return
		}
		for i := range v.Len() {
			m.walk(v.Index(i), look, seen)
		}
	case reflect.Map:
		if v.IsNil() {
			return
		}
		m.bytes += v.Len() * int(v.Type().Key().Size()+v.Type().Elem().Size())
		for it := v.MapRange(); it.Next(); {
			m.walk(it.Key(), look, seen)
			m.walk(it.Value(), look, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			m.walk(v.Field(i), look, seen)
		}
	}
}

// plain reports whether values of a kind refer to nothing.
func plain(k reflect.Kind) bool { return k >= reflect.Bool && k <= reflect.Complex128 }

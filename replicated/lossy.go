package replicated

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// lost names the first part of a value that JSON has not brought back, or nothing: an
// unexported field that is set, one of two with one name, or a string that is no UTF-8. It
// says nothing of what has its own encoding, of what an interface holds, and of what a tag
// leaves out, and an empty slice or map may come back as nil.
func lost(given, back reflect.Value) string {
	kind := given.Kind()
	switch {
	case plain(kind) && given.Equal(back), hasOwnForm(given.Type()):
		return ""
	case kind == reflect.String:
		return " (no UTF-8)"
	case plain(kind):
		return " (another field has its name)"
	}
	switch kind {
	case reflect.Pointer:
		return lostBehind(given, back)
	case reflect.Struct:
		return lostField(given, back)
	case reflect.Map:
		return lostKey(given, back)
	case reflect.Slice, reflect.Array:
		return lostElement(given, back)
	}
	return ""
}

// plain reports whether a kind is that of a string, a number or a bool.
func plain(kind reflect.Kind) bool { return kind <= reflect.Complex128 || kind == reflect.String }

func lostBehind(given, back reflect.Value) string {
	switch {
	case given.IsNil():
		return ""
	case back.IsNil():
		return " (a pointer to nil)"
	}
	return lost(given.Elem(), back.Elem())
}

func lostField(given, back reflect.Value) string {
	for i := range given.NumField() {
		f := given.Type().Field(i)
		where := ""
		switch {
		case f.Tag.Get("json") == "-":
		case f.IsExported() || f.Anonymous && structOf(f.Type).Kind() == reflect.Struct:
			where = lost(given.Field(i), back.Field(i))
		case !given.Field(i).IsZero():
			where = " (unexported)"
		}
		if where != "" {
			return "." + f.Name + where
		}
	}
	return ""
}

func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func lostKey(given, back reflect.Value) string {
	if given.Len() != back.Len() {
		return " (keys that become one)"
	}
	if hasOwnForm(given.Type().Key()) {
		return ""
	}
	for all := given.MapRange(); all.Next(); {
		again := back.MapIndex(all.Key())
		if !again.IsValid() {
			return " (a key that is no UTF-8)"
		}
		if where := lost(all.Value(), again); where != "" {
			return "[]" + where
		}
	}
	return ""
}

func lostElement(given, back reflect.Value) string {
	if kind := given.Type().Elem().Kind(); plain(kind) && kind != reflect.String {
		return "" // no number is lost alone
	}
	for i := range given.Len() {
		if where := lost(given.Index(i), back.Index(i)); where != "" {
			return "[" + strconv.Itoa(i) + "]" + where
		}
	}
	return ""
}

// forms are what types implement that say themselves what they are in JSON, or what JSON
// comes to: with its defaults, say.
var forms = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

// hasOwnForm reports whether a type implements one of the forms.
func hasOwnForm(t reflect.Type) bool {
	return slices.ContainsFunc(forms, func(form reflect.Type) bool {
		return t.Implements(form) || reflect.PointerTo(t).Implements(form)
	})
}

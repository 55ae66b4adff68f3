package params

import (
	"cmp"
	"slices"
	"strings"
)

// Redacted replaces a secret wherever parameters are shown.
const Redacted = "<secret>"

// Redact returns a copy of raw that may be shown. It replaces the values of
// keys that are secret in of, those of keys that of does not have, and those
// with an "@", which may follow credentials. of is as for [Keys], or nil if
// nothing is known about the keys.
func Redact(raw map[string]string, of any) map[string]string {
	open := openKeys(of)
	shown := make(map[string]string, len(raw))
	for name, value := range raw {
		if isSecret(name, value, open) {
			value = Redacted
		}
		shown[name] = value
	}
	return shown
}

// RedactText replaces the values that Redact replaces, and each item of those
// that are lists, in text, which may be the words of a server or a library.
// Values of one or two bytes stay: they would be found everywhere.
func RedactText(text string, raw map[string]string, of any) string {
	open := openKeys(of)
	var secrets []string
	for name, value := range raw {
		if isSecret(name, value, open) {
			secrets = append(secrets, append(strings.Split(value, ","), value)...)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range secrets {
		if s = strings.TrimSpace(s); len(s) > 2 {
			text = strings.ReplaceAll(text, s, Redacted)
		}
	}
	return text
}

// openKeys returns the names and aliases of the keys in of that are not secret.
func openKeys(of any) map[string]bool {
	open := map[string]bool{}
	if of == nil {
		return open
	}
	for _, k := range Keys(of) {
		open[k.Name] = !k.Secret
		open[k.Alias] = !k.Secret && k.Alias != ""
	}
	return open
}

func isSecret(name, value string, open map[string]bool) bool {
	return value != "" && (!open[name] || strings.Contains(value, "@"))
}

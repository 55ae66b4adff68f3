package params

import (
	"cmp"
	"regexp"
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
// that are lists, in text, which may be the words of a server or a library. A value
// that may be there for another reason, because it is a word, a number or also the
// value of a key that is shown, is replaced only where it stands as a password does:
// elsewhere a gap would tell it.
func RedactText(text string, raw map[string]string, of any) string {
	open := openKeys(of)
	var secrets, shown []string
	for name, value := range raw {
		if isSecret(name, value, open) {
			secrets = append(secrets, append(strings.Split(value, ","), value)...)
		} else {
			shown = append(shown, value)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		known := slices.ContainsFunc(shown, func(value string) bool { return strings.Contains(value, s) })
		switch {
		case s == "":
		case known || common.MatchString(s):
			text = placed(s, known).ReplaceAllString(text, "${1}${3}"+Redacted+"${2}${4}")
		default:
			text = strings.ReplaceAll(text, s, Redacted)
		}
	}
	return text
}

// common is what may be in a text for another reason.
var common = regexp.MustCompile(`^(?:\pL{1,12}|\d{1,12}|..?)$`)

// placed finds s where a password stands: before the host of a URL, behind the name of
// a key, on a line of its own in an echo of what was sent, and in quotes, unless it is
// also shown.
func placed(s string, shown bool) *regexp.Regexp {
	before, after := `(?i:(?:pass|secret|token|auth|key)[a-z_]*["']?[=:]\s*["']?)|\\n|\n`, `["'`+"`"+`&,;\s]|\\r|\\n|$`
	if !shown {
		before += `|["'` + "`]"
	}
	word := regexp.QuoteMeta(s)
	return regexp.MustCompile(`(` + before + `)` + word + `(` + after + `)|(:)` + word + `(@)`)
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

package params

import (
	"net"
	"strconv"
	"strings"
	"unicode"
)

// HostPorts checks that list, the value of key, holds items of the form host:port,
// at least one. An item without a port gets the usual one; if there is no usual
// one, such an item is refused. Its error is one of [Bad], and shows an item as
// [Shown] does.
func HostPorts(key string, list []string, usual string) error {
	example := usual
	if example == "" {
		example = "1234"
	}
	if len(list) == 0 {
		return Bad(key, "is empty; want host:port, such as localhost:%s", example)
	}
	for i, text := range list {
		full := text
		if usual != "" && (!strings.Contains(text, ":") || strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]")) {
			full = net.JoinHostPort(strings.Trim(text, "[]"), usual)
		}
		if strings.Contains(text, "@") {
			return Bad(key, "an item (not shown) is not host:port; what stands before an @ belongs in its own parameters")
		}
		host, port, err := net.SplitHostPort(full)
		if err != nil || host == "" || strings.ContainsFunc(host, unicode.IsSpace) || strings.ContainsAny(text, "/?#") {
			return Bad(key, "%q is not host:port, such as localhost:%s or [fd00::1]:%[2]s", Shown(text), example)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return Bad(key, "%q has no port from 1 to 65535", Shown(text))
		}
		list[i] = full
	}
	return nil
}

// Shown returns an address as an error may show it: shortened, and without what
// stands before an @ or behind a question mark, where people put passwords.
func Shown(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		address = "…" + address[i:]
	}
	if i := strings.IndexByte(address, '?'); i >= 0 {
		address = address[:i+1] + "…"
	}
	return shorten(address)
}

// Unnamed returns the key and a colon where err says that a name has no address, so
// that a user learns which parameter holds the name; else nothing.
func Unnamed(key string, err error) string {
	if err != nil && strings.Contains(err.Error(), "no such host") { // some libraries keep the text alone
		return key + ": "
	}
	return ""
}

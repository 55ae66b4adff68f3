package backend

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// OpenURL joins the cluster that raw names: [Open] of [ParseURL].
func OpenURL(ctx context.Context, raw string) (ClusterChannel, error) {
	c, err := ParseURL(raw)
	if err != nil {
		return nil, err
	}
	return Open(ctx, c)
}

// ParseURL reads a Config from a URL:
//
//	redis://user:secret@localhost:6379/0?cluster=alerts&name=node-1&timeout=2s
//
// The scheme is the backend. A query key is one of [Keys] (all but backend), or
// "meta." and a key of Meta, or else a parameter of the backend. The other parts
// of the URL become parameters too, where they are not empty:
//
//	address   host and port; several, separated by commas, where the backend takes them
//	username  before the colon
//	password  after it
//	path      without its leading slash
//
// Backends take each part under that name or as an alias, and refuse what they
// have no use for: in "memberlist://0.0.0.0:9094" the address is listen_address,
// in "redis://host/0" the path is db.
//
// A key may be given once. A reserved character in a value is percent-encoded,
// an "@" after the host always is. What the parts hold is not checked: Open and
// the backend do that. Errors wrap ErrConfig and never show a part of the URL
// that may be a password.
func ParseURL(raw string) (Config, error) {
	u, err := splitURL(raw)
	if err != nil {
		return Config{}, err
	}
	s := settings{fixed: map[string]string{"backend": u.Scheme}}
	password, _ := u.User.Password()
	for _, part := range []struct{ key, value string }{
		{"address", u.Host},
		{"username", u.User.Username()},
		{"password", password},
		{"path", strings.TrimPrefix(u.Path, "/")},
	} {
		if part.value == "" {
			continue
		}
		if err := putOnce(&s.params, part.key, part.value); err != nil {
			return Config{}, err
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, errNotURL
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if !urlKey.MatchString(key) {
			return Config{}, fmt.Errorf("%w: URL: a key of the query is not made of letters, digits and \". _ -\" alone", ErrConfig)
		}
		if meant := misspelt(u.Scheme, key); meant != "" {
			return Config{}, fmt.Errorf("%w: URL: %q is not a known key, did you mean %q?", ErrConfig, key, meant)
		}
		for _, value := range query[key] {
			if err := s.add(key, value); err != nil {
				return Config{}, err
			}
		}
	}
	return s.config()
}

// misspelt returns which key of every backend is meant by one that is none, and near to no
// parameter of its own backend. What that does not tell, nobody knows before it is opened.
func misspelt(backend, key string) string {
	b, ok := Lookup(backend)
	if !ok || b.Params == nil || isFixed(key) || strings.HasPrefix(key, metaPrefix) {
		return ""
	}
	var own, fixed []string
	for _, k := range params.Keys(b.Params) {
		own = append(own, k.Name, k.Alias)
	}
	if params.Closest(key, own) != "" {
		return ""
	}
	for _, k := range Keys() {
		fixed = append(fixed, k.Name)
	}
	return params.Closest(key, fixed)
}

var (
	urlKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

	// errNotURL says nothing of the URL: where it cannot be split, any piece of it
	// may belong to a password.
	errNotURL = fmt.Errorf("%w: URL: is not of the form backend://user:password@host:port/path?key=value, "+
		`with every "/", "?", "#", "%%" and "@" inside a value percent-encoded`, ErrConfig)
)

// splitURL is url.Parse for a host that may be a list, without what that lets
// pass here: opaque URLs, fragments, and an "@" that was meant to end a password.
func splitURL(raw string) (*url.URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errNotURL
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, rest = rest[:end], rest[end:]
	} else {
		rest = ""
	}
	if strings.ContainsAny(rest, "@#") {
		return nil, errNotURL
	}
	hosts := authority[strings.LastIndexByte(authority, '@')+1:]
	user := strings.TrimSuffix(authority, hosts)

	u, err := url.Parse(scheme + "://" + user + rest)
	if err != nil || u.Scheme == "" {
		return nil, errNotURL
	}
	var list []string
	for host := range strings.SplitSeq(hosts, ",") {
		one, err := url.Parse(scheme + "://" + host)
		if err != nil {
			return nil, errNotURL
		}
		list = append(list, one.Host)
	}
	u.Host = strings.Join(list, ",")
	return u, nil
}

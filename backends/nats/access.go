package nats

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// credentials gives the library this node's credentials. Files are read now, so
// that Open refuses what cannot be used, and again at every connection.
func (s *settings) credentials() ([]nats.Option, error) {
	given := s.credentialsGiven()
	switch {
	case len(given) > 1:
		return nil, params.Bad(given[1], "is given beside %s; a connection has one kind of credentials", given[0])
	case s.Username == "" && s.Password != "":
		return nil, params.Bad("password", "is given without username")
	case s.Username != "" && s.Password == "":
		return nil, params.Bad("username", "is given without password; give a token as token")
	case s.Username != "":
		return []nats.Option{nats.UserInfo(s.Username, s.Password)}, nil
	case s.Token != "":
		return []nats.Option{nats.Token(s.Token)}, nil
	case s.NkeyFile != "":
		option, err := nats.NkeyOptionFromSeed(s.NkeyFile)
		if err != nil {
			return nil, params.Bad("nkey_file", "%q: %w", s.NkeyFile, fileError(err, "it holds no seed of a user's nkey (SU...)"))
		}
		return []nats.Option{option}, nil
	case s.CredsFile != "":
		if err := checkCreds(s.CredsFile); err != nil {
			return nil, params.Bad("creds_file", "%q: %w", s.CredsFile, err)
		}
		return []nats.Option{nats.UserCredentials(s.CredsFile)}, nil
	}
	return nil, nil
}

// credentialsGiven returns the keys of the kinds of credentials that are given.
func (s *settings) credentialsGiven() []string {
	var keys []string
	for _, kind := range [][2]string{{"username", s.Username}, {"token", s.Token}, {"nkey_file", s.NkeyFile}, {"creds_file", s.CredsFile}} {
		if kind[1] != "" {
			keys = append(keys, kind[0])
		}
	}
	return keys
}

// credentialsKey is the key at fault when the server refuses this node.
func (s *settings) credentialsKey() string {
	if given := s.credentialsGiven(); len(given) > 0 {
		return given[0]
	}
	return "username"
}

// checkCreds checks that a file holds a user's JWT and seed.
func checkCreds(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fileError(err, "")
	}
	defer clear(text)
	jwt, err := nkeys.ParseDecoratedJWT(text)
	if err == nil && strings.Count(jwt, ".") != 2 {
		err = errors.New("no JWT") // text without decoration counts as a JWT, a bare seed too, and would be sent
	}
	if err == nil {
		var user nkeys.KeyPair
		if user, err = nkeys.ParseDecoratedUserNKey(text); err == nil {
			user.Wipe()
		}
	}
	if err != nil {
		return errors.New("it does not hold a user's JWT and seed, as nsc writes them")
	}
	return nil
}

// validUntil returns when the credentials in a file expire; zero if they do not.
func validUntil(path string) (time.Time, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, err
	}
	defer clear(text)
	jwt, err := nkeys.ParseDecoratedJWT(text)
	parts := strings.Split(jwt, ".")
	if err != nil || len(parts) != 3 {
		return time.Time{}, errors.New("there is no JWT in it")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	claims := struct {
		Expires int64 `json:"exp"`
	}{}
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return time.Time{}, errors.New("its JWT cannot be read")
	}
	if claims.Expires == 0 {
		return time.Time{}, nil
	}
	return time.Unix(claims.Expires, 0).UTC(), nil
}

// fileError says what is wrong with a file: that it cannot be read, or else
// what it lacks. It leaves out the parser's error, which may quote a secret.
func fileError(err error, lacks string) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return errors.New(lacks)
}

// encryption tells the library how to encrypt. The library keeps these settings
// for all connections, so it reads the authorities itself at each.
func (s *settings) encryption(raw map[string]string) ([]nats.Option, error) {
	c, err := s.TLSConfig(s.TLSMinVersion)
	if err := cmp.Or(s.CheckTLS(raw), err); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if c == nil {
		return nil, nil
	}
	options := []nats.Option{nats.Secure(c)}
	if s.TLSCAFile != "" {
		options = append(options, nats.RootCAs(s.TLSCAFile))
	}
	return options, nil
}

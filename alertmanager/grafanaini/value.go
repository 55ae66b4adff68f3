package grafanaini

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// value is the merged value of one key.
type value struct {
	key
	section string // if it is not the one of all others
	older   string // the key of the older section that decides, if one does
	text    string // expanded
	written string // as it stands in its layer
	source  Source
	from    string // the file or the variable
	line    int

	// one of these, by kind
	yes   bool
	count int
	span  time.Duration
	items []string
}

func (v value) given() bool { return v.source != Default }

// decidedBy is v with the text of a key of the older section, and with its place.
func (v value) decidedBy(before value, text string) value {
	v.text, v.older = text, before.name
	v.source, v.from, v.line = before.source, before.from, before.line
	return v
}

func (v value) shown() string {
	if v.secret && v.text != "" {
		return params.Redacted
	}
	return v.text
}

// errorf is an error about v. Its text begins with the value, unless that is, or
// may hold, a secret.
func (v value) errorf(format string, args ...any) error {
	shown := fmt.Sprintf("%q", shorten(v.text))
	switch {
	case v.secret || strings.Contains(v.text, "@"):
		shown = "the value (not shown)"
	case v.written != v.text && v.written != "":
		shown += fmt.Sprintf(" (written %s)", shorten(v.written))
	}
	return v.wrap(fmt.Errorf("%s %w", shown, fmt.Errorf(format, args...)))
}

// wrap names the place of v before err.
func (v value) wrap(err error) error {
	where := v.from
	if v.line > 0 {
		where = fmt.Sprintf("%s: line %d", v.from, v.line)
	}
	in := cmp.Or(v.section, section)
	if where == "" {
		return fmt.Errorf("%w: [%s] %s: %w", backend.ErrConfig, in, v.name, err)
	}
	return fmt.Errorf("%s: %w: [%s] %s: %w", where, backend.ErrConfig, in, v.name, err)
}

// shorten keeps an error readable, however long the key's value is.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// decode reads the text by the key's kind.
func (v *value) decode() error {
	text := v.text
	if text == "" {
		text = v.def
	}
	var err error
	switch v.kind {
	case boolean:
		v.yes, err = parseBool(text)
	case integer:
		v.count, err = v.parseCount(text)
	case duration:
		v.span, err = v.parseSpan(text)
	case list:
		v.items, err = parseList(text)
	}
	if err != nil {
		return v.errorf("%w", err)
	}
	v.text = text
	return nil
}

func parseBool(text string) (bool, error) {
	switch text {
	case "1", "t", "T", "true", "TRUE", "True", "YES", "yes", "Yes", "y", "ON", "on", "On":
		return true, nil
	case "0", "f", "F", "false", "FALSE", "False", "NO", "no", "No", "n", "OFF", "off", "Off":
		return false, nil
	}
	return false, errors.New("is neither true nor false")
}

func (k key) parseCount(text string) (int, error) {
	n, err := strconv.ParseInt(text, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("is not a whole number from %d to %d", k.least, math.MaxInt32)
	}
	if int(n) < k.least {
		return 0, fmt.Errorf("is too small; at least %d is valid", k.least)
	}
	return int(n), nil
}

func (k key) parseSpan(text string) (time.Duration, error) {
	d, err := parseDuration(text)
	switch {
	case err != nil:
		return 0, err
	case d < 0:
		return 0, errors.New("is negative")
	case d < time.Millisecond && !(k.zero && d == 0):
		return 0, errors.New("is too short; at least 1ms is valid")
	}
	return d, nil
}

var calendar = regexp.MustCompile(`^(\d+)([dwMy])$`)

// The units that Grafana has and Go has not.
const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365*day + day/4
)

// parseDuration parses a duration as Grafana's gtime does.
func parseDuration(text string) (time.Duration, error) {
	bad := errors.New("is not a duration: a number with a unit, such as 200ms, 15s or 1h30m, or one whole number with d, w, M or y")
	m := calendar.FindStringSubmatch(text)
	if m == nil {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, bad
		}
		return d, nil
	}
	unit := map[string]time.Duration{"d": day, "w": week, "M": year / 12, "y": year}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > int64(math.MaxInt64/unit) {
		return 0, errors.New("is longer than a duration can be")
	}
	return time.Duration(n) * unit, nil
}

// parseList splits text at its commas and trims each item.
func parseList(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	items := strings.Split(text, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
		if items[i] == "" {
			return nil, fmt.Errorf("has an empty item, number %d; leave out the comma", i+1)
		}
	}
	return items, nil
}

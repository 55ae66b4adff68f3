package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

var configChecks = []*check{
	{name: "config/unknown-backend", level: basic, rules: []int{18}, body: configUnknownBackend,
		holds: "a backend that is not registered is refused; the error lists those that are, and the import to add"},
	{name: "config/bad-params", level: basic, rules: []int{18}, needs: badParams, body: configBadParams,
		holds: "each bad value and an unknown key are refused within a second; the error names the key and shows no secret"},
	{name: "config/before-dialling", level: basic, rules: []int{18}, needs: badParams, body: configBeforeDialling,
		holds: "each parameter is checked before anything is dialled, even with a context that is done; a misspelt one, or one in other letters, is refused by name"},
	{name: "config/secrets", level: basic, rules: []int{18}, alone: true, body: configSecrets,
		holds: "no error, log or view shows a secret, nor do stdout and stderr, whichever parameter it is given in"},
	{name: "config/cancelled-context", level: basic, rules: []int{18}, alone: true, body: configCancelledContext,
		holds: "Open with a done context returns its error and leaves nothing running"},
	{name: "config/unreachable-degrades", level: fault, rules: []int{18, 12}, needs: ownServer, body: configUnreachableDegrades,
		holds: "a node opens alone and detached while the server is down, and joins once it is up"},
}

// atOnce is how long Open may take to refuse a bad configuration.
const atOnce = time.Second

// refused opens a channel that must not open. It checks that the error wraps
// want, comes at once, contains each of texts, and shows no secret.
func (e *env) refused(what string, want error, texts []string, edit func(*backend.Config)) {
	e.Helper()
	start := time.Now()
	n, err := e.tryOpen(context.Background(), "node", edit)
	if took := e.since(start); took > e.scaled(atOnce) {
		e.Errorf("%s: Open took %v to refuse it, want less than %v", what, took, e.scaled(atOnce))
	}
	if !errors.Is(err, want) {
		e.Errorf("%s: Open: %v, want an error that wraps %q", what, err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			e.Errorf("%s: Open: %v, want an error that names %q", what, err, text)
		}
	}
	for place, text := range map[string]string{"error": err.Error(), "log": n.log.String()} {
		if strings.Contains(text, Secret) {
			e.Errorf("%s: the %s shows the secret: %s", what, place, text)
		}
	}
}

func configUnknownBackend(e *env) {
	for _, name := range []string{"nope", ""} {
		texts := append(backend.Registered(), "registered")
		if name != "" {
			texts = append(texts, "nope", "import", "/backends/")
		}
		unknown := func(c *backend.Config) { c.Backend = name }
		e.notRegistered(fmt.Sprintf("backend %q", name), texts, unknown)
	}
}

// notRegistered does what refused does, but uses the registry, which a wiretap
// would replace.
func (e *env) notRegistered(what string, texts []string, edit func(*backend.Config)) {
	e.Helper()
	c := backend.Config{Cluster: e.cluster, Name: "node"}
	edit(&c)
	start := time.Now()
	channel, err := e.h.channel(context.Background(), c)
	if took := e.since(start); took > e.scaled(atOnce) {
		e.Errorf("%s: Open took %v", what, took)
	}
	if channel != nil || !errors.Is(err, backend.ErrUnknownBackend) {
		e.Fatalf("%s: Open: %v, %v, want ErrUnknownBackend", what, channel, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			e.Errorf("%s: Open: %v, want an error that names %q", what, err, text)
		}
	}
}

func configBadParams(e *env) {
	for _, name := range slices.Sorted(maps.Keys(e.h.Bad)) {
		key, _, _ := strings.Cut(name, " ")
		e.refused("bad "+name, backend.ErrConfig, []string{key}, func(c *backend.Config) { c.Params = e.h.Bad[name] })
	}
	const unknown = "no-such-key"
	n, err := e.prepare("node")
	if err != nil {
		e.Fatal(err)
	}
	with := map[string]string{unknown: Secret}
	maps.Copy(with, n.config.Params)
	e.refused("an unknown key", backend.ErrConfig, []string{unknown}, func(c *backend.Config) { c.Params = with })
	e.refused("a negative period", backend.ErrConfig, []string{"-1s"}, func(c *backend.Config) { c.Timing.Heartbeat = -time.Second })
	e.refused("a name with a space", backend.ErrConfig, []string{"no de"}, func(c *backend.Config) { c.Name = "no de" })
	e.refused("a cluster that is no UTF-8", backend.ErrConfig, []string{"luster"}, func(c *backend.Config) { c.Cluster = "\xff" })
	e.refused("a cluster of 201 bytes", backend.ErrConfig, []string{"200"}, func(c *backend.Config) { c.Cluster = strings.Repeat("c", 201) })
	e.refused("an unknown policy", backend.ErrConfig, []string{"panic", "alone", "hold"}, func(c *backend.Config) { c.OnIsolation = "panic" })
	e.refused("an unknown start policy", backend.ErrConfig, []string{"panic", "degrade", "fail"}, func(c *backend.Config) { c.OnStartFailure = "panic" })
}

// badForms are values that no parameter of the type takes.
var badForms = map[string]string{"integer": "conformance", "duration": "5", "bool": "perhaps", "size": "-1x"}

// configBeforeDialling asks the driver itself: with a context that is done, all that
// it can do is to look at its parameters.
func configBeforeDialling(e *env) {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	refused := func(what, key string, block map[string]string) {
		e.Helper()
		d, err := e.openBare(done, "node", block)
		if err == nil {
			_ = d.Close(context.Background())
		}
		if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), key) {
			e.Errorf("%s, and a context that is done: Open of the driver: %v; want an error that wraps ErrConfig and names %s: parameters are checked first, so that a configuration can be checked without being used", what, err, key)
		}
		if err != nil && strings.Contains(err.Error(), Secret) {
			e.Errorf("%s: the error shows the secret: %v", what, err)
		}
	}
	bad := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(e.h.Bad)) {
		key, _, _ := strings.Cut(name, " ")
		refused("bad "+name, key, e.h.Bad[name])
		bad[key] = true
	}
	b, _ := backend.Lookup(e.h.Backend)
	if b.Params == nil {
		return // blind says so
	}
	sound, err := e.prepare("node")
	if err != nil {
		e.Fatal(err)
	}
	with := func(key, value string) map[string]string {
		block := map[string]string{key: value}
		maps.Copy(block, sound.config.Params)
		block[key] = value
		return block
	}
	keys := params.Keys(b.Params)
	known := map[string]bool{}
	for _, k := range keys {
		known[k.Name], known[k.Alias] = true, true
	}
	var unseen []string
	for _, k := range keys {
		form := badForms[k.Type]
		if len(k.OneOf) > 0 {
			form = "conformance"
		}
		if form == "" && !bad[k.Name] && !bad[k.Alias] {
			unseen = append(unseen, k.Name)
		}
		if form != "" {
			block := with(k.Name, form)
			delete(block, k.Alias)
			refused(fmt.Sprintf("%s=%s", k.Name, form), k.Name, block)
		}
		for _, misspelt := range []string{k.Name + "_", strings.ToUpper(k.Name), k.Name[1:], strings.ReplaceAll(k.Name, "_", "-"), " " + k.Name} {
			if !known[misspelt] && misspelt != "" {
				refused(fmt.Sprintf("%q in place of %s", misspelt, k.Name), misspelt, with(misspelt, Secret))
			}
		}
	}
	if len(unseen) > 0 {
		e.notChecked("whether these are read, since their text has no form that is wrong and Harness.Bad has no value for them: %s", strings.Join(unseen, ", "))
	}
}

// secretForms returns values for a parameter that hold a secret: those of a secret
// one, and of an address what a URL may have before, within and behind its host.
func secretForms(k params.Key) []string {
	switch {
	case k.Secret:
		return []string{Secret, "x," + Secret, Secret + "\n"}
	case k.Type == "list", k.Name == "address", k.Alias == "address":
		return []string{
			"user:" + Secret + "@localhost:1", Secret + "@localhost:1", "scheme://user:" + Secret + "@localhost:1/0",
			"localhost:1,user:" + Secret + "@localhost:2", "localhost:1/?password=" + Secret, "user:" + Secret + "@", "user:" + Secret + "@local host",
		}
	}
	return nil
}

func configSecrets(e *env) {
	b, _ := backend.Lookup(e.h.Backend)
	if b.Params == nil {
		return // blind says so; all are treated as secrets, wherever they are shown
	}
	sound, err := e.prepare("node")
	if err != nil {
		e.Fatal(err)
	}
	output, restore := captureOutput(e)
	defer restore()
	for _, k := range params.Keys(b.Params) {
		for _, form := range secretForms(k) {
			n, err := e.prepare("node", func(c *backend.Config) {
				c.Params = maps.Clone(sound.config.Params)
				if c.Params == nil {
					c.Params = map[string]string{}
				}
				delete(c.Params, k.Alias)
				c.Params[k.Name] = form
			})
			if err != nil {
				e.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), e.scaled(atOnce)/2)
			shown := map[string]string{}
			if err := n.start(ctx); err != nil {
				shown["error"] = err.Error()
			} else {
				shown["view"] = fmt.Sprintf("%+v", n.View())
				n.close()
			}
			cancel()
			shown["log"] = n.log.String()
			for place, text := range shown {
				if strings.Contains(text, Secret) {
					e.Errorf("%s=%q: the %s shows the secret: %s", k.Name, form, place, text)
				}
			}
		}
	}
	restore()
	if text := output(); strings.Contains(text, Secret) {
		e.Errorf("stdout or stderr shows the secret: %s", text)
	}
}

func configCancelledContext(e *env) {
	before := measure()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	past, cancelPast := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancelPast()
	for what, ctx := range map[string]context.Context{"cancelled": ctx, "past": past} {
		start := time.Now()
		n, err := e.tryOpen(ctx, "node")
		if !errors.Is(err, ctx.Err()) {
			e.Errorf("%s context: Open: %v, want %v", what, err, ctx.Err())
		}
		if took := e.since(start); took > e.scaled(atOnce) {
			e.Errorf("%s context: Open took %v", what, took)
		}
		if n != nil && n.ClusterChannel != nil && err != nil {
			e.Errorf("%s context: Open returned a channel beside the error", what)
		}
	}
	e.leftNothing(before)
}

func configUnreachableDegrades(e *env) {
	e.server.Stop(e)
	start := time.Now()
	a := e.open("a")
	if took := e.since(start); took > e.scaled(10*time.Second) {
		e.Errorf("Open took %v with the server down", took)
	}
	b := e.open("b")
	nodes := []*node{a, b}
	sets := addSets("set", nodes)
	for _, n := range nodes {
		v := n.View()
		if err := lists(v, n, n); err != nil {
			e.Errorf("with the server down: %v", err)
		}
		if v.Status != backend.Detached || v.Err == nil {
			e.Errorf("with the server down: %s is %v, %v; want it detached, with the reason", n, v.Status, v.Err)
		}
	}
	sets[0].write([]byte("early"))

	_, err := e.tryOpen(context.Background(), "strict", func(c *backend.Config) { c.OnStartFailure = backend.Fail })
	if !errors.Is(err, backend.ErrUnavailable) {
		e.Errorf("with the server down and the policy to fail: Open: %v, want ErrUnavailable", err)
	}

	e.server.Start(e)
	e.within(restart, "both nodes attach and find each other", func() error { return agree(nodes...) })
	sets[1].write([]byte("late"))
	e.within(joiner, "what was written before arrives", func() error { return holdAll(2, sets...) })
}

package command_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// TestParametersOfTheDocuments compares docs/parameters.md with the backends'
// descriptions.
func TestParametersOfTheDocuments(t *testing.T) {
	_, got, ok := strings.Cut(document(t, "parameters.md"), "\n## ")
	if !ok {
		t.Fatal("docs/parameters.md has no section")
	}
	var want strings.Builder
	for _, name := range backend.Registered() {
		b, _ := backend.Lookup(name)
		fmt.Fprintf(&want, "\n## %s\n\n| key | type | default | flag of Alertmanager |\n|---|---|---|---|\n", name)
		for _, k := range params.Keys(b.Params) {
			fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", names(k), kind(k), code(k.Default), flags(b, k))
		}
	}
	if got = "\n## " + got; got != want.String() {
		t.Errorf("docs/parameters.md is, from its first section on:\n%s\nwant:\n%s", got, want.String())
	}
}

// names are those of a key, the one that a part of a URL has last.
func names(k params.Key) string {
	if k.Alias == "" {
		return code(k.Name)
	}
	return code(k.Name) + ", " + code(k.Alias)
}

func kind(k params.Key) string {
	kind := cmp.Or(strings.Join(k.OneOf, ", "), k.Type)
	if k.Secret {
		kind += ", secret"
	}
	return kind
}

func flags(b driver.Backend, k params.Key) string {
	for _, f := range b.Flags {
		if f.Param == k.Name {
			return code("--cluster." + f.Name)
		}
	}
	return ""
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

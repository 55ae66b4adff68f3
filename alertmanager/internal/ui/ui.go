// Package ui is the page of an Alertmanager: alerts by group, and silences to
// look at, create, edit and expire. It is one document with one script, which
// asks the API v2 below the same path, so that the page works below any prefix.
//
// What the API says becomes text in the page, never markup. The page's
// Content-Security-Policy allows nothing but its own style and script.
package ui

import (
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
	"net/http"
	"strings"
)

//go:embed page.html
var markup string

//go:embed page.css
var style string

//go:embed page.js
var script string

//go:embed icon.svg
var icon string

var page = strings.NewReplacer("{{style}}", style, "{{script}}", script).Replace(markup)

// policy allows the page's own style and script, by their hashes, and requests and
// its icon from where it came from.
var policy = "default-src 'none'; style-src '" + hashOf(style) + "'; script-src '" + hashOf(script) + "'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// hashOf returns the source expression of a Content-Security-Policy that allows
// text and nothing else.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Serve answers GET and HEAD with the page.
func Serve(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(page)) // the client may be gone
}

// ServeIcon answers GET and HEAD with the page's icon.
func ServeIcon(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "image/svg+xml")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(icon)) // the client may be gone
}

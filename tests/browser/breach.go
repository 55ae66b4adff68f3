package browser

import "fmt"

// breaches does in a page what a text that became part of it would do, and notes what
// the policy stops: each directive once.
const breaches = `(() => {
	window.stopped = [];
	document.addEventListener("securitypolicyviolation", (e) => window.stopped.push(e.effectiveDirective));
	const elsewhere = "http://127.0.0.1:1/";
	const add = (tag, attributes, text, use) => {
		try { // where only trusted types are taken, text for a script is refused at once
			const element = document.createElement(tag);
			for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
			element.textContent = text ?? "";
			(tag === "base" ? document.head : document.body).append(element);
			use?.(element);
		} catch (refused) {}
	};
	add("script", {}, "window.owned = 1");
	add("script", {src: elsewhere + "x.js"});
	add("button", {onclick: "window.owned = 1"}, "", (button) => button.click());
	add("style", {}, "body { display: none }");
	add("p", {style: "position: fixed"});
	add("img", {src: elsewhere + "x.png"});
	add("iframe", {src: elsewhere});
	add("object", {data: elsewhere});
	add("base", {href: elsewhere});
	fetch(elsewhere).catch(() => {});
	add("form", {action: elsewhere}, "", (form) => form.submit());
	return true;
})()`

// Breach fails if the policy of the page lets through what a text that became part of
// it would do. The page is not used afterwards.
func (b *Browser) Breach(t TB) {
	t.Helper()
	b.Expect("Content Security Policy")
	b.Expect("This document requires 'TrustedScript")
	Eval[bool](t, b, breaches)
	for _, directive := range []string{
		"script-src-elem", "script-src-attr", "style-src-elem", "style-src-attr", "img-src", "frame-src", "object-src", "base-uri", "connect-src", "form-action",
	} {
		b.Until(t, fmt.Sprintf(`window.stopped.includes(%q) || /^(script|object)-/.test(%[1]q) && window.stopped.includes("require-trusted-types-for")`, directive))
	}
	if Eval[bool](t, b, `"owned" in window || getComputedStyle(document.body).display === "none"`) {
		t.Errorf("the policy has stopped nothing")
	}
}

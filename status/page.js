"use strict";
const live = document.getElementById("live");
const say = (text) => { if (live.textContent !== text) live.textContent = text; };
// renew makes old what fresh is, each node in its place, so that what a reader has
// scrolled, focused, marked or opened stays so.
const renew = (old, fresh) => {
	if (old.nodeName !== fresh.nodeName) {
		old.replaceWith(fresh);
		return;
	}
	if (old.nodeType === Node.TEXT_NODE) {
		if (old.data !== fresh.data) old.data = fresh.data;
		return;
	}
	for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
	for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
	const [had, has] = [[...old.childNodes], [...fresh.childNodes]];
	had.forEach((node, i) => { if (i < has.length) renew(node, has[i]); else node.remove(); });
	old.append(...has.slice(had.length));
};
const take = (event) => {
	const next = document.createElement("template");
	next.innerHTML = event.data;
	for (const section of [...next.content.children]) {
		const old = document.getElementById(section.id);
		if (old === null) document.getElementById("main").append(section);
		else renew(old, section);
	}
	say("live");
};
// The browser connects again by itself after a broken connection, but not after an
// answer that is an error, as of a proxy while the node restarts, and not where
// nothing arrives any more, as of a network that is cut: the node says something
// each 15 seconds.
const patience = 40000;
const follow = () => {
	const source = new EventSource(location.pathname);
	const lost = () => say("the connection is lost; what is shown may be old");
	let silent;
	const heard = () => {
		clearTimeout(silent);
		silent = setTimeout(() => {
			source.close();
			lost();
			follow();
		}, patience);
	};
	heard();
	source.onmessage = (event) => {
		heard();
		take(event);
	};
	source.addEventListener("alive", () => {
		heard();
		say("live");
	});
	source.onerror = () => {
		lost();
		if (source.readyState !== EventSource.CLOSED) return;
		clearTimeout(silent);
		setTimeout(follow, 2000);
	};
};
follow();

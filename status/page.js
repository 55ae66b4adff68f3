"use strict";
const live = document.getElementById("live");
const say = (text) => { if (live.textContent !== text) live.textContent = text; };
// What a reader has scrolled, focused or opened stays so.
const renew = (old, section) => {
	const box = old.querySelector(".scroll");
	const left = box === null ? 0 : box.scrollLeft;
	const focused = box !== null && box === document.activeElement;
	old.replaceWith(section);
	const now = section.querySelector(".scroll");
	if (box === null || now === null) return;
	now.scrollLeft = left;
	if (focused) now.focus({ preventScroll: true });
};
const take = (event) => {
	const next = document.createElement("template");
	next.innerHTML = event.data;
	for (const section of [...next.content.children]) {
		const old = document.getElementById(section.id);
		if (old?.querySelector("details[open]")) section.querySelector("details")?.setAttribute("open", "");
		if (old === null) document.getElementById("main").append(section);
		else if (old.outerHTML !== section.outerHTML) renew(old, section);
	}
	say("live");
};
// The browser connects again by itself after a broken connection, but not after an
// answer that is an error, as of a proxy while the node restarts.
const follow = () => {
	const source = new EventSource(location.pathname);
	source.onmessage = take;
	source.onerror = () => {
		say("the connection is lost; what is shown may be old");
		if (source.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
	};
};
follow();

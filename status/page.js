"use strict";
const live = document.getElementById("live");
const say = (text) => { if (live.textContent !== text) live.textContent = text; };
const source = new EventSource(location.pathname);
// What a reader has scrolled or focused stays so.
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
source.onmessage = (event) => {
	const next = document.createElement("template");
	next.innerHTML = event.data;
	for (const section of [...next.content.children]) {
		const old = document.getElementById(section.id);
		if (old === null) document.getElementById("main").append(section);
		else if (old.innerHTML !== section.innerHTML) renew(old, section);
	}
	say("live");
};
source.onerror = () => say("the connection is lost; what is shown may be old");

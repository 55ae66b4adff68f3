"use strict";

// What the hash names is shown, as the API says it. All that comes from there
// becomes text: no markup is ever read.

const $ = (id) => document.getElementById(id);
const interval = 15000;
const patience = 30000;
const most = 500; // of alerts, and of silences in one state, on the page at once

// el makes an element. An attribute that is null is left out, and so is a child.
const el = (tag, attributes, ...children) => {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) if (value !== null) e.setAttribute(name, value);
	e.append(...children.flat().filter((c) => c !== null));
	return e;
};

// renew makes old what fresh is. What is in both stays the same element, by its key
// or its place, and so does what a reader has opened, marked or scrolled.
const renew = (old, fresh) => {
	for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
	for (const { name, value } of fresh.attributes) if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
	const key = (node) => node.dataset?.key ?? "";
	const keyed = new Map([...old.children].filter(key).map((node) => [key(node), node]));
	const wanted = new Set([...fresh.children].map(key));
	let at = old.firstChild;
	const drop = () => { const gone = at; at = at.nextSibling; gone.remove(); };
	for (const node of [...fresh.childNodes]) {
		while (at !== null && key(at) && !wanted.has(key(at))) drop();
		const same = key(node) ? keyed.get(key(node)) : at;
		if (!same || same.nodeName !== node.nodeName || key(same) !== key(node)) {
			old.insertBefore(node, at);
			continue;
		}
		keyed.delete(key(node));
		if (same === at) at = at.nextSibling;
		else old.insertBefore(same, at);
		if (same.nodeType === Node.TEXT_NODE) { if (same.data !== node.data) same.data = node.data; } else renew(same, node);
	}
	while (at !== null) drop();
};

// show replaces what is in box, and does not take the focus from a reader.
const show = (box, ...nodes) => {
	const fresh = box.cloneNode(false);
	fresh.append(...nodes.flat());
	const focused = document.activeElement;
	renew(box, fresh);
	if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
};

const say = (box, text) => { if (box.textContent !== text) box.textContent = text; };

// Matchers are {name, op, value}. Those of the API have two booleans for op.

const fromAPI = ({ name, value, isRegex, isEqual }) => ({ name, value, op: isEqual === false ? (isRegex ? "!~" : "!=") : isRegex ? "=~" : "=" });
const toAPI = ({ name, value, op }) => ({ name, value, isRegex: op.endsWith("~"), isEqual: op.startsWith("=") });

// write puts a matcher into the syntax that all parsers of Alertmanager agree on.
const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
const write = ({ name, op, value }) => (name === "" || /[\s\x85{}!=~,\\"'`\p{Cc}\p{Cf}]/u.test(name) ? quoted(name) : name) + op + quoted(value);

// readable is the same for people: what cannot be seen, or turns the direction of
// the text, stands there by its number.
const readable = (matcher) => write(matcher).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => {
	const hex = c.codePointAt(0).toString(16);
	return hex.length > 4 ? `\\U${hex.padStart(8, "0")}` : `\\u${hex.padStart(4, "0")}`;
});

const escaped = /\\(?:u([\da-fA-F]{4})|U(00(?:10|0[\da-fA-F])[\da-fA-F]{4})|x([\da-fA-F]{2})|(.))/gsu;
const meant = { n: "\n", r: "\r", t: "\t", "\"": "\"", "\\": "\\" };
const unquoted = (text) => text.replace(escaped, (all, four, eight, two, one) => one === undefined ? String.fromCodePoint(parseInt(four ?? eight ?? two, 16)) : meant[one] ?? all);

const syntax = /^(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s\x85{}!=~,\\"'`]+))\s*(=~|!~|!=|=)[^\S\n]*(?:"([^"\\]*(?:\\.[^"\\]*)*)"\s*?|([^",\n]*))(?:[,\n]|$)/su;

// parse reads matchers in Alertmanager's syntax, in braces or without, with commas
// or lines between them.
const parse = (text) => {
	const matchers = [];
	let rest = text.trim();
	if (rest.startsWith("{") && rest.endsWith("}")) rest = rest.slice(1, -1).trim();
	while (rest !== "") {
		const found = syntax.exec(rest);
		if (found === null) throw new Error(`this is no matcher: ${rest.slice(0, 100)}`);
		const [all, name, bareName, op, value, bareValue] = found;
		matchers.push({ name: bareName ?? unquoted(name), op, value: value === undefined ? bareValue.trim() : unquoted(value) });
		rest = rest.slice(all.length).trim();
	}
	return matchers;
};

const newSilence = (matchers, more = {}) => "#/silences/new?" + new URLSearchParams({ filter: `{${matchers.map(readable).join(", ")}}`, ...more });

// Times are in the zone of the browser, as its own inputs have them.

const local = (date) => new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
const when = (iso) => el("time", { datetime: iso }, local(new Date(iso)).replace("T", " "));

const units = { w: 604800, d: 86400, h: 3600, m: 60, s: 1 };

// seconds reads a duration, and is 0 where it is none.
const seconds = (text) => {
	const found = /^(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text.trim());
	return found === null ? 0 : Object.values(units).reduce((sum, unit, i) => sum + unit * (found[i + 1] ?? 0), 0);
};

const duration = (rest) => ["d", "h", "m", "s"].map((name) => {
	const n = Math.floor(rest / units[name]);
	rest -= n * units[name];
	return n > 0 ? n + name : "";
}).join("");

// What is shown lives until leave is called, and a look at the API until the next
// one: their requests end with them, so that no older answer replaces a newer one.
let leave = new AbortController();
let look = new AbortController();

// ask calls the API. Its error is a text for people. A node that is cut off may not
// answer for ever.
const ask = async (path, { signal = leave.signal, ...options } = {}) => {
	const request = new AbortController();
	const end = () => request.abort();
	if (signal.aborted) end();
	signal.addEventListener("abort", end);
	const limit = setTimeout(end, patience);
	const answer = async () => {
		const response = await fetch("api/v2/" + path, { signal: request.signal, cache: "no-store", ...options });
		return [response, await response.text()];
	};
	try {
		const [response, body] = await answer().catch(() => {
			throw new Error("the node does not answer; what is shown may be old");
		});
		let read = body;
		try { read = JSON.parse(body || "null"); } catch { /* it is text */ }
		if (!response.ok) throw new Error(`${response.status}: ${read?.message ?? (read || response.statusText)}`);
		if (typeof read === "string") throw new Error("the answer is not that of an Alertmanager");
		return read;
	} finally {
		clearTimeout(limit);
		signal.removeEventListener("abort", end);
	}
};

const filters = (matchers) => matchers.map((m) => ["filter", write(m)]);
const search = (pairs) => "?" + new URLSearchParams(pairs);

// Parts of the views.

const count = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;
const labels = (set) => Object.entries(set).map(([name, value]) => ({ name, op: "=", value }));
const list = (matchers) => el("ul", { class: "labels" }, matchers.map((m) => el("li", {}, el("code", {}, readable(m)))));
const facts = (pairs) => el("dl", {}, pairs.map(([name, value]) => el("div", {}, el("dt", {}, el("bdi", {}, name)), el("dd", {}, value))));
const web = (text) => /^https?:\/\/\S+$/i.test(text);
const outside = (href, ...text) => el("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...text);
const leftOut = (n) => n > 0 ? el("p", { class: "soft" }, `Not shown: ${n} more. Matchers narrow the list.`) : null;

const alertItem = ({ fingerprint, labels: set, annotations, status, startsAt, generatorURL }) => {
	const because = [["silenced", status.silencedBy], ["inhibited", status.inhibitedBy], ["muted", status.mutedBy]].filter(([, by]) => by?.length > 0);
	const state = because.map(([name]) => name).join(", ") || status.state;
	return el("li", { class: `alert ${status.state}`, "data-key": fingerprint },
		el("div", { class: "line" },
			el("span", { class: "state" }, state),
			el("span", {}, "since ", when(startsAt)),
			el("a", { href: newSilence(labels(set)), "aria-label": `Silence ${set.alertname ?? "this alert"}` }, "Silence"),
			(status.silencedBy ?? []).map((id) => el("a", { href: `#/silences/${id}` }, `Silence ${id.slice(0, 8)}`)),
			web(generatorURL ?? "") ? outside(generatorURL, "Source") : null),
		list(labels(set)),
		Object.keys(annotations).length > 0 ? facts(Object.entries(annotations).map(([name, value]) => [name, web(value) ? outside(value, value) : value])) : null);
};

const alertList = (alerts) => alerts.length === 0 ? [el("p", {}, "None.")] : [
	el("p", {}, count(alerts.length, "alert")),
	el("ul", { class: "items" }, alerts.slice(0, most).map(alertItem)),
	leftOut(alerts.length - most),
].filter((e) => e !== null);

// affected asks for the alerts that matchers are about, in whichever state.
const affected = async (box, matchers, options) => show(box, alertList(await ask("alerts" + search(filters(matchers)), options)));

// regroup makes groups of the alerts that have the same values of these labels,
// whichever receivers they go to.
const regroup = (groups, by) => {
	const fresh = new Map();
	for (const alert of new Map(groups.flatMap(({ alerts }) => alerts).map((a) => [a.fingerprint, a])).values()) {
		const common = Object.fromEntries(by.filter((name) => Object.hasOwn(alert.labels, name)).map((name) => [name, alert.labels[name]]));
		const key = JSON.stringify(common);
		if (!fresh.has(key)) fresh.set(key, { labels: common, alerts: [] });
		fresh.get(key).alerts.push(alert);
	}
	return [...fresh.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([, group]) => group);
};

// A view is opened with the parts of the address, and then loads with the signal of
// the look, again and again unless it is open once.
const views = {};

const alertStates = ["active", "silenced", "inhibited", "muted"];

views.alerts = {
	open(query) {
		const form = $("alerts-form").elements;
		form.filter.value = query.get("filter") ?? "";
		const receiver = query.get("receiver") ?? "";
		if (![...form.receiver.options].some(({ value }) => value === receiver)) form.receiver.append(this.receiver(receiver));
		form.receiver.value = receiver;
		for (const state of alertStates) form[state].checked = query.has(state) ? query.get(state).toLowerCase() !== "false" : state === "active";
		// Alertmanager's own page has a switch for the labels beside them.
		form.group.value = query.get("customGrouping") === "false" ? "" : query.get("group") ?? "";
		const by = form.group.value.split(",").map((name) => name.trim()).filter((name) => name !== "");
		this.wanted = { text: form.filter.value, receiver, by, states: alertStates.map((state) => [state, form[state].checked]) };
	},
	receiver: (name) => el("option", { value: name, "data-key": `=${name}` }, name || "all"),
	async load(options) {
		const { text, receiver, by, states } = this.wanted;
		const asked = [...filters(parse(text)), ...states];
		const names = (await ask("receivers", options)).map(({ name }) => name);
		show($("alerts-form").elements.receiver, [...new Set(["", ...names, receiver])].map(this.receiver));
		// The address has the name of one, or a regular expression.
		if (receiver !== "") asked.push(["receiver", names.includes(receiver) ? receiver.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&") : receiver]);
		let groups = (await ask("alerts/groups" + search(asked), options)).filter(({ alerts }) => alerts.length > 0);
		if (by.length > 0) groups = regroup(groups, by);
		const seen = {};
		let room = most;
		const all = groups.reduce((sum, { alerts }) => sum + alerts.length, 0);
		show($("groups"), el("p", {}, all === 0 ? "No alert is in this state and matches." : `${count(all, "alert")} in ${count(groups.length, "group")}`),
			groups.map(({ receiver: to, labels: common, alerts }) => {
				const name = JSON.stringify([to?.name, common]);
				seen[name] = (seen[name] ?? 0) + 1;
				const items = alerts.slice(0, room);
				room -= items.length;
				return items.length === 0 ? null : el("div", { class: "card", "data-key": name + seen[name] },
					el("h3", {}, ...(to ? ["To ", el("bdi", {}, to.name), ": "] : []), count(alerts.length, "alert")),
					list(labels(common)),
					el("ul", { class: "items" }, items.map(alertItem)));
			}).filter((e) => e !== null),
			leftOut(all - most) ?? []);
	},
};

const silenceStates = ["active", "pending", "expired"];

views.silences = {
	open(query) {
		$("silences-form").elements.filter.value = this.text = query.get("filter") ?? "";
	},
	async load(options) {
		const silences = await ask("silences" + search(filters(parse(this.text))), options);
		show($("states"), silenceStates.map((state) => {
			const those = silences.filter(({ status }) => status.state === state);
			return el("details", { class: "card", "data-key": state, ...(state === "expired" ? {} : { open: "" }) },
				el("summary", {}, `${state}: ${those.length}`),
				el("ul", { class: "items" }, those.slice(0, most).map((s) => el("li", { "data-key": s.id },
					el("a", { href: `#/silences/${s.id}` }, el("bdi", { class: "code" }, s.matchers.map((m) => readable(fromAPI(m))).join(", "))),
					el("div", { class: "line" },
						state === "pending" ? el("span", {}, "starts ", when(s.startsAt)) : null,
						el("span", {}, state === "expired" ? "ended " : "ends ", when(s.endsAt)),
						el("span", {}, "by ", el("bdi", {}, s.createdBy)),
						el("bdi", { class: "soft" }, s.comment))))),
				leftOut(those.length - most));
		}));
	},
};

const one = (id, options) => ask(`silence/${encodeURIComponent(id)}`, options);

views.silence = {
	open(query, id) {
		this.id = id;
		$("about").replaceChildren();
		$("affected").replaceChildren();
		$("edit").hidden = $("expire").hidden = true;
	},
	async load(options) {
		const s = await one(this.id, options);
		const matchers = s.matchers.map(fromAPI);
		const expired = s.status.state === "expired";
		show($("about"), el("div", { class: `card silence ${s.status.state}` },
			el("p", { class: "state" }, s.status.state), list(matchers), facts([
				["Starts", when(s.startsAt)], ["Ends", when(s.endsAt)], ["Creator", s.createdBy], ["Comment", s.comment], ["Updated", when(s.updatedAt)], ["ID", s.id],
				...Object.entries(s.annotations ?? {}),
			])));
		$("edit").href = expired ? newSilence(matchers, { comment: s.comment }) : `#/silences/${s.id}/edit`;
		say($("edit"), expired ? "Recreate" : "Edit");
		$("edit").hidden = false;
		if (expired && document.activeElement === $("expire")) $("edit").focus();
		$("expire").hidden = expired;
		await affected($("affected"), matchers, options);
	},
};

const fields = $("silence-form").elements;

// put sets the time of an input, and iso returns it: to the last digit where
// nobody has changed it, for the start of a silence that is active may not change.
const put = (input, iso) => {
	input.value = local(new Date(iso));
	Object.assign(input.dataset, { iso, shown: input.value });
};
const iso = (input) => input.value === input.dataset.shown ? input.dataset.iso : new Date(input.value).toISOString();

// keep has duration and end agree, whichever of the times was changed.
const keep = (changed) => {
	const start = Date.parse(fields.start.value);
	if (changed === fields.end) fields.duration.value = duration(Math.max(0, (Date.parse(fields.end.value) - start) / 1000));
	const length = seconds(fields.duration.value);
	if (changed !== fields.end && length > 0 && start + 1000 * length < 8.64e15) put(fields.end, new Date(start + 1000 * length).toISOString());
	fields.duration.setCustomValidity(changed !== fields.end && length === 0 ? "A duration is such as 2h or 1d12h30m." : "");
	fields.end.setCustomValidity(changed === fields.end && length === 0 ? "The end must be after the start." : "");
};

const remembered = (name) => {
	try {
		if (name !== undefined) localStorage.setItem("creator", name);
		return localStorage.getItem("creator") ?? "";
	} catch { return ""; } // the browser does not want to remember
};

views.form = {
	once: true,
	open(query, id) {
		this.id = id;
		this.former = null;
		say($("form-h"), id ? "Edit silence" : "New silence");
		fields.save.textContent = id ? "Save" : "Create";
		$("silence-form").inert = id !== undefined; // until it is loaded, which replaces what is in it
		say($("refused"), "");
		$("previewed").replaceChildren();
		let matchers = query.get("filter") ?? "";
		try { matchers = parse(matchers).map(readable).join("\n"); } catch (e) { say($("refused"), e.message); }
		const now = new Date();
		this.fill(matchers, now.toISOString(), new Date(now.getTime() + 7200000).toISOString(), remembered(), query.get("comment") ?? "");
	},
	fill(matchers, startsAt, endsAt, creator, comment) {
		fields.matchers.value = matchers;
		put(fields.start, startsAt);
		put(fields.end, endsAt);
		fields.duration.value = duration(Math.round((Date.parse(endsAt) - Date.parse(startsAt)) / 1000));
		for (const field of [fields.duration, fields.end]) field.setCustomValidity("");
		fields.creator.value = creator;
		fields.comment.value = comment;
	},
	async load(options) {
		if (!this.id) return;
		const s = this.former = await one(this.id, options);
		this.fill(s.matchers.map((m) => readable(fromAPI(m))).join("\n"), s.startsAt, s.endsAt, s.createdBy, s.comment);
		$("silence-form").inert = false;
	},
	// matchers returns those in the form; without any, a silence would be of all.
	matchers() {
		const all = parse(fields.matchers.value);
		if (all.length === 0) throw new Error("there is no matcher");
		return all;
	},
	async save() {
		const [createdBy, comment] = [fields.creator.value.trim(), fields.comment.value.trim()];
		if (createdBy === "" || comment === "") throw new Error("creator and comment may not be empty");
		const silence = {
			...(this.former ? { id: this.former.id, annotations: this.former.annotations } : {}),
			matchers: this.matchers().map(toAPI), startsAt: iso(fields.start), endsAt: iso(fields.end), createdBy, comment,
		};
		const { silenceID } = await ask("silences", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(silence) });
		remembered(createdBy);
		visit(`#/silences/${silenceID}`);
	},
};

views.status = {
	open() {},
	async load(options) {
		const { cluster, versionInfo, uptime, config } = await ask("status", options);
		show($("facts"), el("div", { class: "card" }, facts([
			["Version", versionInfo.version], ["Running since", when(uptime)], ["Cluster", cluster.status], ["Name", cluster.name ?? "-"],
			["Peers", el("ul", {}, (cluster.peers ?? []).map(({ name, address }) => el("li", {}, el("bdi", {}, name), " at ", el("bdi", {}, address))))],
		])), el("h3", {}, "Configuration"), el("pre", { class: "card" }, config.original));
	},
};

views.nothing = { once: true, open() {}, async load() {} };

// The address.

const places = new Map(Object.entries({
	"": "alerts", "/alerts": "alerts", "/silences": "silences", "/silences/new": "form", "/status": "status", "/settings": "status",
}));

const route = () => {
	const [path, ...after] = location.hash.slice(1).split("?");
	const query = new URLSearchParams(after.join("?"));
	const plain = places.get(path.replace(/\/+$/, ""));
	if (plain !== undefined) return [plain, query];
	const [, id, edit] = /^\/silences\/([^/]+)(\/edit)?\/?$/.exec(path) ?? [];
	return id === undefined ? ["nothing", query] : [edit ? "form" : "silence", query, id];
};

let current = "";
let timer;

const refresh = async () => {
	clearTimeout(timer);
	look.abort();
	const mine = look = new AbortController();
	const view = views[current];
	try {
		await view.load({ signal: mine.signal });
		if (mine !== look) return;
		say($("error"), "");
		say($("live"), "live");
	} catch (e) {
		if (mine !== look) return;
		say($("error"), e.message);
		say($("live"), "not live");
	}
	clearTimeout(timer);
	if (!view.once) timer = setTimeout(() => { if (!document.hidden) refresh(); }, interval);
};

// visit goes to an address at once: until an event has told of it, a reader may have
// typed something that its view would replace.
const visit = (hash) => {
	history.pushState(null, "", hash);
	go();
};

const go = () => {
	const [name, query, id] = route();
	leave.abort();
	leave = new AbortController();
	const former = current;
	current = name;
	for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
	if ($("sure").open) $("sure").close();
	say($("error"), "");
	views[name].open(query, id);
	const heading = $(`${name}-h`);
	document.title = `${heading.textContent} - Alertmanager`;
	const here = { alerts: "#/alerts", silences: "#/silences", form: "#/silences/new", status: "#/status" }[name];
	for (const a of document.querySelectorAll("nav a")) {
		if (a.getAttribute("href") === here && !id) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
	if (former !== "" && former !== name) {
		scrollTo(0, 0);
		heading.focus({ preventScroll: true });
	}
	refresh();
};

// What a reader does.

const filterAlerts = () => {
	const form = $("alerts-form").elements;
	const query = new URLSearchParams(alertStates.map((state) => [state, form[state].checked]));
	for (const name of ["filter", "receiver", "group"]) if (form[name].value.trim() !== "") query.set(name, form[name].value);
	if (query.has("group")) query.set("customGrouping", "true");
	return `#/alerts?${query}`;
};

const filterSilences = () => {
	const text = $("silences-form").elements.filter.value.trim();
	return text === "" ? "#/silences" : `#/silences?${new URLSearchParams({ filter: text })}`;
};

for (const [form, address] of [["alerts-form", filterAlerts], ["silences-form", filterSilences]]) {
	for (const kind of ["submit", "change"]) $(form).addEventListener(kind, (event) => {
		event.preventDefault();
		if (location.hash === address()) refresh();
		else visit(address());
	});
}

// attempt runs what a button stands for, not twice at once, and says where it fails.
// A button that is disabled would lose the focus.
const attempt = async (button, box, action) => {
	if (button.hasAttribute("aria-disabled")) return;
	button.setAttribute("aria-disabled", "true");
	say(box, "");
	try { await action(); } catch (e) { say(box, e.message); }
	button.removeAttribute("aria-disabled");
};

for (const input of [fields.start, fields.duration, fields.end]) input.addEventListener("input", () => keep(input));
$("silence-form").addEventListener("submit", (event) => {
	event.preventDefault();
	attempt(fields.save, $("refused"), () => views.form.save());
});
fields.matchers.addEventListener("input", () => $("previewed").replaceChildren());
$("preview").addEventListener("click", () => attempt($("preview"), $("refused"), () => affected($("previewed"), views.form.matchers())));
$("expire").addEventListener("click", () => $("sure").showModal());
$("no").addEventListener("click", () => $("sure").close());
$("yes").addEventListener("click", () => attempt($("yes"), $("error"), async () => {
	$("sure").close();
	await ask(`silence/${encodeURIComponent(views.silence.id)}`, { method: "DELETE" });
	await refresh();
	$("edit").focus();
}));
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !views[current].once) refresh(); });
addEventListener("hashchange", go);
$("zone").textContent = `: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
go();

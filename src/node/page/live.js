// Keeps the page as the node has it. It asks for the whole page, which the node makes with everything escaped, and takes over
// what has changed, so that focus, selection and what a screen reader reads stay where they are. It stores nothing.
"use strict";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const time = (date) => date.toISOString().slice(0, 19).replace("T", " ") + " UTC";

let tag = null;
let wait = 1000;
let lost = null;

// Whether one node may become the other.
function fits(old, now) {
  return old.nodeType === now.nodeType && old.nodeName === now.nodeName && (old.id || "") === (now.id || "");
}

function become(old, now) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  if (old.hasAttribute("data-own")) return;
  // What the viewer has opened stays open.
  for (const { name } of [...old.attributes]) if (name !== "open" && !now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  let mine = old.firstChild;
  for (const theirs of [...now.childNodes]) {
    if (mine === null) {
      old.append(document.importNode(theirs, true));
    } else if (fits(mine, theirs)) {
      become(mine, theirs);
      mine = mine.nextSibling;
    } else {
      const fresh = document.importNode(theirs, true);
      old.replaceChild(fresh, mine);
      mine = fresh.nextSibling;
    }
  }
  while (mine !== null) {
    const next = mine.nextSibling;
    mine.remove();
    mine = next;
  }
}

// Says something of the connection; a mark of another shape each, and words.
function say(kind, shape, text) {
  if (connection.textContent === (text && shape + " " + text)) return;
  connection.className = "connection " + kind;
  connection.textContent = text && shape + " " + text;
}

function gone(why) {
  lost ??= new Date();
  say("finding bad", "✗", "This node is not reachable since " + time(lost) + ": what is below is as it was then. " + why);
}

async function look() {
  const stop = new AbortController();
  const late = setTimeout(() => stop.abort(), 10000);
  try {
    const headers = tag === null ? {} : { "If-None-Match": tag };
    const answer = await fetch(location.pathname, { headers, cache: "no-store", credentials: "omit", signal: stop.signal });
    wait = Math.min(Math.max(Number(answer.headers.get("rekindle-look-again-ms")) || 1000, 500), 60000);
    if (answer.status === 503) {
      wait = Math.max(wait, 5000);
      say("finding warning", "!", "Too many look at this node: what is below may be some seconds old.");
      return;
    }
    if (answer.status === 200) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = page.getElementById("main");
      if (now === null) return gone("What answers is not the page of a node.");
      become(main, now);
      document.title = page.title;
      tag = answer.headers.get("etag");
    } else if (answer.status !== 304) {
      return gone("It answers " + answer.status + ".");
    }
    if (lost !== null) say("quiet", "", "");
    else if (connection.className.includes("warning")) say("quiet", "", "");
    lost = null;
  } catch {
    wait = 1000;
    gone(
      location.protocol === "https:"
        ? "It is asked again every second. If it was started again, it has another certificate: load this page anew to accept it."
        : "It is asked again every second."
    );
  } finally {
    clearTimeout(late);
  }
}

async function live() {
  for (;;) {
    await look();
    // Nobody looks: it need not be often. A part of a second apart from all others.
    const pause = document.hidden ? Math.max(wait, 10000) : wait;
    await new Promise((go) => setTimeout(go, pause * (0.9 + Math.random() * 0.2)));
  }
}

live();

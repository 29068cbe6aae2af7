// Live updates. The page is complete without this file: it only says that something changed, and looks anew when
// that disturbs nobody. Text goes in as text; nothing here builds markup.
"use strict";
(() => {
  const pill = document.getElementById("live");
  const watched = document.querySelector("[data-live]");
  if (!pill || !window.EventSource) return;
  const QUIET = 2000, SILENCE = 12000;
  let changed = 0, touched = 0, beat = Date.now(), lost = null, over = false;

  const clock = () => new Date().toLocaleTimeString();
  const say = (text, name) => {
    if (pill.textContent !== text) pill.textContent = text;
    pill.className = "live " + name;
  };
  const show = () => {
    if (lost) return say("Live updates lost " + lost + ", retrying", "lost");
    if (!changed) return say("Live", "on");
    pill.className = "live news";
    pill.textContent = changed + (changed === 1 ? " change – " : " changes – ");
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "show";
    pill.append(link);
  };
  // Nothing may move under somebody who points, selects, reads a detail or types.
  const busy = () =>
    over || Date.now() - touched < QUIET || String(getSelection()) !== "" || document.querySelector("details[open]") ||
    (document.activeElement && document.activeElement.closest("form, table"));
  const look = () => {
    if (changed && !lost && (document.hidden || !busy())) location.reload();
  };

  const source = new EventSource("/api/v1/stream");
  const alive = () => {
    beat = Date.now();
    if (lost) { lost = null; changed += 1; }
    show();
  };
  source.onopen = alive;
  source.addEventListener("heartbeat", alive);
  source.addEventListener("resync", () => { changed += 1; alive(); });
  source.addEventListener("incident", (event) => {
    const only = watched && watched.dataset.incident;
    if (!only || JSON.parse(event.data).id === only) changed += 1;
    alive();
  });
  source.onerror = () => { lost = lost || clock(); show(); };
  for (const kind of ["keydown", "pointerdown", "scroll"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  if (watched) {
    watched.addEventListener("pointerenter", (event) => { over = event.pointerType === "mouse"; });
    watched.addEventListener("pointerleave", () => { over = false; });
  }
  addEventListener("pagehide", () => source.close());
  setInterval(() => {
    if (!lost && Date.now() - beat > SILENCE) { lost = clock(); show(); }
    look();
  }, 1000);
})();

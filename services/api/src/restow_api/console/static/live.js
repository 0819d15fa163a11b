"use strict";
// Three comforts, none of them needed: ask before what cannot be taken back, show new events as they
// come, and keep a page that shows a moving thing up to date. Text only ever enters as text.
(() => {
  const ROWS_MAX = 300;

  document.addEventListener("submit", (event) => {
    const question = event.submitter && event.submitter.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  function told(data) {
    const parts = [data.why || data.reason || data.action || data.symptom || data.goal || ""];
    if (data.server) parts.push(data.server);
    if (data.from && data.to) parts.push(data.from + " → " + data.to);
    return parts.join(" ");
  }

  function row(entry) {
    const line = document.createElement("tr");
    line.className = "fresh";
    const time = entry.time.split(".")[0].replace("T", " ").replace("Z", "") + " UTC";
    const code = document.createElement("code");
    code.textContent = entry.type.replace("restow.", "");
    const link = document.createElement("a");
    link.href = "/console/events?correlation=" + encodeURIComponent(entry.correlationid);
    link.textContent = entry.subject.slice(0, 40);
    for (const [label, content] of [["At", time], ["Event", code], ["Subject", link], ["What", told(entry.data)]]) {
      const cell = line.insertCell();
      cell.dataset.label = label;
      cell.append(content);
    }
    return line;
  }

  const rows = document.getElementById("events");
  if (rows && rows.dataset.live) {
    const pulse = document.getElementById("pulse");
    const say = (word, kind) => { if (pulse) { pulse.textContent = word; pulse.className = "tag " + kind; } };
    const source = new EventSource("/v1/events");
    source.onopen = () => say("live", "ok");
    source.onerror = () => say("reconnecting", "warn");
    source.onmessage = (message) => {
      rows.querySelectorAll(".nothing").forEach((line) => line.remove());
      rows.prepend(row(JSON.parse(message.data)));
      while (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
    };
  }

  const main = document.querySelector("main[data-refresh]");
  if (main) {
    const busy = () => document.hidden || main.contains(document.activeElement) && document.activeElement !== main
      && document.activeElement.matches("input, select, textarea, button");
    setInterval(async () => {
      if (busy()) return;
      try {
        const answer = await fetch(location.href, { credentials: "same-origin" });
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        if (fresh && !busy()) main.replaceChildren(...fresh.childNodes);
      } catch { /* the next time */ }
    }, 1000 * Number(main.dataset.refresh));
  }
})();

// Keys and the large view for tiles of pictures, and single keys that press a link.
"use strict";
(() => {
  const tiles = () => [...document.querySelectorAll(".tile")];
  const chosen = () => document.activeElement?.closest?.(".tile");

  const choose = (tile) => {
    for (const other of tiles()) other.tabIndex = other === tile ? 0 : -1;
    tile.focus();
    tile.scrollIntoView({ block: "nearest" });
  };

  const step = (key) => {
    const all = tiles();
    const here = all.indexOf(chosen());
    if (here < 0) return all[0] && choose(all[0]);
    const columns = all.filter((one) => one.offsetTop === all[here].offsetTop && one.parentElement === all[here].parentElement).length;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
    const next = all[Math.min(all.length - 1, Math.max(0, here + by))];
    if (next) choose(next);
  };

  const open = (tile) => {
    document.getElementById("tile-view")?.remove();
    const box = document.createElement("dialog");
    box.id = "tile-view";
    const picture = document.createElement("img");
    picture.src = `${tile.dataset.source}/view`;
    picture.alt = tile.dataset.title;
    const about = document.createElement("div");
    for (const [kind, text] of [["tile-title", tile.dataset.title], ["tile-badge", tile.dataset.badge], ["muted", tile.dataset.text], ["tile-note", tile.dataset.note]]) {
      if (!text) continue;
      const line = document.createElement("div");
      line.className = kind;
      line.textContent = text;
      about.append(line);
    }
    const links = document.createElement("div");
    links.className = "row";
    for (const [words, href, key] of [["Pictures like this", tile.dataset.likes, "l"], ["Open the part", tile.dataset.link, "o"]]) {
      if (!href) continue;
      const link = document.createElement("a");
      link.className = "button";
      link.href = href;
      link.textContent = `${words} (${key})`;
      links.append(link);
    }
    about.append(links);
    box.append(picture, about);
    box.addEventListener("close", () => { box.remove(); choose(tile); });
    box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
    document.body.append(box);
    box.showModal();
  };

  const classes = () => {
    const names = [...document.querySelectorAll('select[name="label"] option')].map((one) => one.value);
    return names.filter((name) => name && name !== "good" && name !== "unsure");
  };

  const label = async (tile, what) => {
    const answer = await desk.send("POST", `/api/v1/image-sets/pictures/${tile.dataset.setPicture}/labels`, { label: what });
    const said = await answer.json();
    const badge = tile.querySelector(".tile-badge");
    const text = answer.ok ? said.said.map((one) => one.label).join(", ") || "not labelled" : said.error.message;
    badge.textContent = text;
    tile.dataset.badge = text;
    if (!answer.ok) return;
    tile.classList.remove("is-pass", "is-reject");
    if (what !== "unsure") tile.classList.add(what === "good" ? "is-pass" : "is-reject");
    step("ArrowRight");
  };

  addEventListener("click", (event) => {
    const tile = event.target.closest?.(".tile");
    if (tile) { choose(tile); open(tile); }
  });

  addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, textarea, select, [contenteditable=true]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); return link.click(); }
    const view = document.getElementById("tile-view");
    const tile = chosen() || (view && document.querySelector('.tile[tabindex="0"]'));
    if (event.key.startsWith("Arrow") && tiles().length && !view) { event.preventDefault(); return step(event.key); }
    if (!tile) return;
    if (event.key === "Enter" && !view) { event.preventDefault(); return open(tile); }
    if (event.key === "l" && tile.dataset.likes) return location.assign(tile.dataset.likes);
    if (event.key === "o" && tile.dataset.link) return location.assign(tile.dataset.link);
    if (!tile.dataset.setPicture || view) return;
    if (event.key === "0") return label(tile, "good");
    if (event.key === "u") return label(tile, "unsure");
    const place = "123456789".indexOf(event.key);
    if (place >= 0 && event.key.length === 1 && classes()[place]) return label(tile, classes()[place]);
  });
})();

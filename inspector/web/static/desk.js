// What every page of the desk does in the browser: theme, keys, logging out, and noticing that the login is over.
"use strict";
(() => {
  const about = JSON.parse(document.getElementById("desk-about").textContent);
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const wanted = () => about.theme || (system.matches ? "dark" : "light");
  const paint = () => {
    root.dataset.theme = wanted();
    if (window.Quasar) Quasar.Dark.set(wanted() === "dark");
  };
  paint();
  system.addEventListener("change", paint);

  const send = (method, path, body) =>
    fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });

  const toggleTheme = async () => {
    about.theme = wanted() === "dark" ? "light" : "dark";
    paint();
    await send("PUT", "/api/v1/me/theme", { theme: about.theme });
  };

  const leave = (why) => {
    const here = encodeURIComponent(location.pathname + location.search);
    location.assign(`/login?next=${here}${why ? "&why=" + why : ""}`);
  };

  const logout = async () => {
    await send("POST", "/logout");
    location.assign("/login");
  };

  // A socket that cannot come back may have a login that is over: then the page says nothing true any more.
  const stillIn = async () => {
    try {
      const answer = await fetch("/api/v1/me");
      if (answer.status === 401) return leave("over");
      // Somebody else logged in meanwhile, in another tab: this page was not built for them.
      const me = await answer.json();
      if (answer.ok && (me.name !== about.user[0] || me.role !== about.user[1])) location.reload();
    } catch {
      // The desk itself is away; NiceGUI says so and tries again.
    }
  };
  const watchSocket = () => {
    if (!window.socket) return setTimeout(watchSocket, 200);
    window.socket.on("disconnect", stillIn);
    window.socket.on("connect_error", stillIn);
  };
  addEventListener("load", watchSocket);

  // "g" and a letter goes to a page: the first letter of its title that no page before it has.
  const letters = new Map();
  for (const [title, path] of about.menu) {
    const letter = [...title.toLowerCase()].find((one) => /[a-z]/.test(one) && !letters.has(one));
    if (letter) letters.set(letter, [title, path]);
  }

  const help = () => {
    const open = document.getElementById("desk-help");
    if (open) return open.remove();
    const box = document.createElement("dialog");
    box.id = "desk-help";
    const title = document.createElement("h2");
    title.textContent = `Keys: ${about.page}`;
    const list = document.createElement("dl");
    const places = [...letters].map(([letter, [title]]) => [`g ${letter}`, `go to ${title}`]);
    for (const [key, meaning] of [...about.keys, ...places]) {
      const term = document.createElement("dt");
      const kbd = document.createElement("kbd");
      kbd.textContent = key;
      term.append(kbd);
      const what = document.createElement("dd");
      what.textContent = meaning;
      list.append(term, what);
    }
    box.append(title, list);
    box.addEventListener("close", () => box.remove());
    box.addEventListener("click", () => box.remove());
    document.body.append(box);
    box.showModal();
  };

  let goes = 0;
  addEventListener("keydown", (event) => {
    const field = event.target.closest?.("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable=true]");
    if (field || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "?") {
      event.preventDefault();
      return help();
    }
    const marked = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (marked && performance.now() >= goes) {
      event.preventDefault();
      return marked.matches("input") ? marked.select() : marked.click();
    }
    if (performance.now() < goes) {
      goes = 0;
      const page = letters.get(event.key.toLowerCase());
      if (page) {
        event.preventDefault();
        event.stopImmediatePropagation();
        location.assign(page[1]);
      }
    } else if (event.key === "g") {
      goes = performance.now() + 1500;
    }
  }, true);

  window.desk = { toggleTheme, logout, help, send };
})();

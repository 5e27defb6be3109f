// The review page: one part after the other, judged by single keys. The next parts are fetched and decoded while a person
// looks, and what they say is sent behind their back, in order, so that no key press waits for the desk.
"use strict";
viewer.whenThere("review", (root, about) => {
  const { Viewer, load, make, loginPath, isTyped } = viewer;
  const ask = (method, path, body) => viewer.ask(method, path, body, true);
  // Claims count for five minutes: they are renewed while somebody looks, and given back when nobody has for a while.
  const HELD_MS = 60000, AWAY_MS = 600000;
  const AHEAD = 8, AT_HAND = 12, API = "/api/v1/review";
  const symbols = { PASS: "✓", REJECT: "✕", UNKNOWN: "?" };

  // One name for this window: it holds its parts also after it is loaded again, and another window gets others.
  const window_ = sessionStorage.getItem("review-window") ?? crypto.getRandomValues(new Uint32Array(3)).join("-");
  sessionStorage.setItem("review-window", window_);

  let wish = { order: "closest", kinds: ["reject", "unknown", "near"], station: "" };
  try {
    wish = { ...wish, ...JSON.parse(localStorage.getItem("review-wish")) };
  } catch {
    // What an older page left behind.
  }
  let parts = [];
  let at = 0;
  let classes = [];
  let outbox = [];
  let sending = false;
  let halted = false;
  let away = false;
  let looked = performance.now();
  let held = looked;
  let fetching = false;
  let exhausted = false;
  let done = 0;
  const began = performance.now();
  const times = [];
  let pressed = 0;
  let round = 0;

  // Elements

  const stage = make("div", { class: "review-stage" });
  const goldenStage = make("div", { class: "review-golden" });
  const goldenNote = make("div", { class: "muted review-golden-note" });
  const verdict = make("div", { class: "review-verdict" });
  const facts = make("div", { class: "review-facts" });
  const meter = make("div", { class: "review-meter" });
  const tally = make("div", { class: "review-tally", role: "status" });
  const toast = make("div", { class: "review-toast", role: "alert" });
  const notice = make("div", { class: "label-banner is-bad", role: "alert" });
  const empty = make("div", { class: "review-empty" });
  const keys = make("div", { class: "review-keys" });
  const opacity = make("input", {
    type: "range", min: 0, max: 100, value: 55, "aria-label": "Heat map opacity",
    oninput: () => setOpacity(opacity.value / 100), onchange: () => opacity.blur(),
  });
  const select = (label, options, value, change) =>
    make("label", { class: "review-field" }, make("span", {}, label),
      make("select", { onchange: (event) => { change(event.target.value); event.target.blur(); } },
        ...options.map(([key, text]) => make("option", { value: key, selected: key === value }, text))));
  const kindBoxes = [["reject", "rejects"], ["unknown", "not judged"], ["near", "near-limit passes"]].map(([kind, text]) =>
    make("label", { class: "review-check" },
      make("input", {
        type: "checkbox", checked: wish.kinds.includes(kind),
        onchange: (event) => {
          const kept = wish.kinds.filter((one) => one !== kind);
          again({ kinds: event.target.checked ? [...kept, kind] : kept });
          event.target.blur();
        },
      }), text));
  const bar = make("div", { class: "review-bar" },
    select("First", [["closest", "closest to the limit"], ["newest", "newest"], ["uncertain", "most uncertain"]], wish.order,
      (order) => again({ order })),
    about.stations.length > 1
      ? select("Station", [["", "all"], ...about.stations.map((one) => [one, one])], wish.station, (station) => again({ station }))
      : null,
    ...kindBoxes,
    make("label", { class: "review-field review-heat" }, make("span", {}, "Heat map"), opacity),
    make("div", { class: "spacer" }), tally);
  root.append(bar,
    make("div", { class: "review-body" },
      make("div", { class: "review-left" }, stage, notice, toast, empty),
      make("aside", { class: "review-side" }, verdict, meter, facts,
        make("div", { class: "review-golden-box" },
          make("div", { class: "panel-title" }, "A good part"), goldenStage, goldenNote))),
    keys);
  const main = new Viewer(stage);
  const golden = new Viewer(goldenStage);
  main.twin = golden;
  const setOpacity = (value) => {
    main.opacity = Math.min(1, Math.max(0, value));
    opacity.value = Math.round(main.opacity * 100);
    main.draw();
  };

  // What waits

  const prepare = (part) => {
    part.ready ??= Promise.all([load(part.picture), load(part.heat)]).then(([picture, heat]) => {
      part.bitmap = picture;
      part.heatmap = heat;
      part.loaded = true;
      if (parts[at] === part) show();
    });
  };
  const goldens = new Map();
  const goldenOf = (part) => {
    if (!goldens.has(part.golden)) goldens.set(part.golden, { wait: load(part.golden).then((bitmap) => (goldens.get(part.golden).bitmap = bitmap)) });
    return goldens.get(part.golden);
  };

  const take = (answer, count) => {
    exhausted = count > 0 && answer.parts.length === 0;
    classes = answer.classes;
    parts.push(...answer.parts.filter((part) => !parts.slice(at).some((one) => one.sequence === part.sequence)));
    waiting = answer.waiting;
    drawKeys();
    parts.slice(at, at + AT_HAND).forEach(prepare);
    if (parts[at] && shown !== parts[at]) show();
    else if (!parts[at]) show();
  };

  const refill = async (holds = false) => {
    if (halted || away || fetching || (!holds && (exhausted || parts.length - at > AHEAD))) return;
    fetching = true;
    const mine = round;
    try {
      const besides = parts.slice(at).map((part) => part.sequence);
      const count = Math.max(0, AT_HAND - besides.length);
      held = performance.now();
      const answer = await ask("POST", `${API}/claims`, {
        window: window_, ...wish, count, besides: [...besides, ...outbox.map((one) => one.part.sequence)],
      });
      if (mine === round) take(answer, count);
    } catch (error) {
      if (isShut(error)) return halt(error);
      tell(error.message);
      if (error.status === 0 || error.status >= 500) setTimeout(refill, 3000);
    } finally {
      fetching = false;
    }
    if (mine !== round) refill();  // what was asked for meanwhile had to wait
  };
  let waiting = null;

  const again = async (change) => {
    wish = { ...wish, ...change };
    localStorage.setItem("review-wish", JSON.stringify(wish));
    await giveBack();
    refill();
  };
  const giveBack = async () => {
    round += 1;
    parts = [];
    at = 0;
    exhausted = false;
    show();
    await flush();
    await ask("POST", `${API}/release`, { window: window_ }).catch(() => null);
  };
  // Others' claims run out and the line goes on: an empty queue fills again, and claims are held while somebody looks.
  let given = Promise.resolve();
  setInterval(() => {
    if (!away && performance.now() - looked > AWAY_MS) {
      away = true;
      given = giveBack();
    }
    exhausted = false;
    refill(performance.now() - held >= HELD_MS);
  }, 15000);
  const wake = () => {
    looked = performance.now();
    if (!away) return;
    given.then(() => {
      if (!away) return;
      away = false;
      show();
      refill();
    });
  };
  for (const sign of ["keydown", "pointerdown", "pointermove", "wheel"]) addEventListener(sign, wake, { capture: true, passive: true });

  // One part

  let shown = null;
  const text = (value, digits = 4) => (value === null ? "–" : Number(value.toPrecision(digits)).toString());
  const row = (title, ...value) => make("div", { class: "review-row" }, make("dt", {}, title), make("dd", {}, ...value));
  const show = () => {
    const part = parts[at];
    root.classList.toggle("is-empty", !part);
    if (!part) {
      shown = null;
      main.show(null);
      golden.show(null);
      verdict.replaceChildren();
      facts.replaceChildren();
      meter.replaceChildren();
      goldenNote.textContent = "";
      if (away) empty.replaceChildren(make("div", {}, make("strong", {}, "Are you there?"), make("p", { class: "muted" },
        "Nobody has touched this page for ten minutes, so its parts went back to the others. Press a key or move the pointer to go on.")));
      else empty.replaceChildren(exhausted || !wish.kinds.length
        ? make("div", {}, make("strong", {}, "Nothing waits for you."), make("p", { class: "muted" },
          "Parts that the line rejects, cannot judge or passes close to their limit appear here by themselves."))
        : make("div", { class: "muted" }, "Fetching parts …"));
      drawTally();
      return;
    }
    empty.replaceChildren();
    if (shown !== part) {
      shown = part;
      describe(part);
      main.fitted = true;
      golden.fitted = true;
    }
    const boxes = part.findings.map((one) => ({
      x: one.x, y: one.y, width: one.width, height: one.height, text: `${one.defect_class} ${text(one.score, 3)}`,
    }));
    if (part.loaded) {
      stage.classList.remove("is-loading");
      if (!part.bitmap) empty.replaceChildren(make("div", { class: "muted" }, "The picture is not there any more, or cannot be shown."));
      main.show(part.bitmap, part.heatmap, boxes);
    } else {
      stage.classList.add("is-loading");
      prepare(part);
    }
    const good = goldenOf(part);
    golden.show(good.bitmap ?? null);
    goldenNote.textContent = "bitmap" in good ? (good.bitmap ? `from the golden images of ${part.bundle}` : part.bundle ? `bundle ${part.bundle} is not in the bundles folder` : "no bundle judged this part") : "";
    if (!("bitmap" in good)) good.wait.then(() => shown === part && show());
    drawTally();
  };
  const describe = (part) => {
    const needs = { second: "a second opinion is wanted", third: "two people disagree: you decide" }[part.need];
    verdict.className = `review-verdict is-${part.verdict.toLowerCase()}`;
    verdict.replaceChildren(
      make("div", { class: "review-symbol" }, symbols[part.verdict]),
      make("div", {}, make("div", { class: "review-word" }, part.verdict), make("div", {}, part.headline)));
    const share = part.score === null || !part.limit ? null : Math.min(1.999, Math.max(0, part.score / part.limit));
    meter.replaceChildren(...(share === null ? [] : [
      make("div", { class: "review-scale", title: "score against the limit" },
        make("div", { class: `review-fill is-${part.verdict.toLowerCase()}`, style: `width:${share * 50}%` }),
        make("div", { class: "review-limit" })),
      make("div", { class: "review-scale-words" }, make("span", {}, `score ${text(part.score)}`), make("span", {}, `limit ${text(part.limit)}`))]));
    facts.replaceChildren(...[
      needs ? make("div", { class: "review-need" }, needs) : null,
      make("div", { class: "muted" }, part.text + (part.detail ? ` (${part.detail})` : "")),
      make("dl", { class: "review-list" },
        row("Part", part.part_id || "–", " ", make("a", { href: `/label?part=${part.sequence}`, class: "review-link" }, `no. ${part.sequence}`)),
        row("Station", part.station + (part.view ? ` · ${part.view}` : "")),
        row("Received", new Date(part.received).toLocaleString()),
        row("Bundle", part.bundle || "–")),
    ].filter(Boolean));
  };
  main.onDrawn = () => {
    if (pressed && shown?.loaded) {
      times.push(performance.now() - pressed);
      pressed = 0;
    }
  };

  // What a person says

  const decide = (what) => {
    const part = parts[at];
    if (halted || !part || !part.loaded) return;
    pressed = performance.now();
    outbox.push({ part, what });
    keep();
    at += 1;
    done += 1;
    show();
    flush();
    refill();
    forget();
  };
  // What lies far back needs no pixels any more.
  const forget = () => {
    for (const part of parts.slice(0, Math.max(0, at - 20))) {
      part.bitmap?.close();
      part.heatmap?.close();
      Object.assign(part, { bitmap: undefined, heatmap: undefined, loaded: false, ready: undefined });
    }
  };
  // What is not saved yet outlives the page, for the person who said it alone: it is sent when they are back in this window.
  const kept = `review-outbox-${about.line}-${about.user}`;
  const keep = () => {
    try {
      if (outbox.length) sessionStorage.setItem(kept, JSON.stringify(outbox.map(({ part, what }) => ({ sequence: part.sequence, image: part.image, what }))));
      else sessionStorage.removeItem(kept);
    } catch {
      // The browser's store is full: the page itself still has it, and leaving asks first.
    }
  };
  const fetchKept = () => {
    try {
      outbox = (JSON.parse(sessionStorage.getItem(kept)) ?? []).map(({ sequence, image, what }) => ({ part: { sequence, image }, what }));
    } catch {
      // What an older page left behind.
    }
    done += outbox.length;
    if (outbox.length) tell(`${outbox.length} decision(s) from before are being saved.`);
  };
  // The desk lets nothing of this page in: the login is over, the role is another, or it has too much to do. A page that
  // went on would lose what is said; whoever comes back gets a new one, made for who is logged in then.
  const isShut = (error) => [401, 403, 429].includes(error.status);
  const halt = (error) => {
    halted = true;
    const isOver = error.status === 401;
    const why = isOver ? "Your login is over" : error.message;
    const what = outbox.length ? `${outbox.length} decision(s) are not saved yet and are kept in this window` : "everything you said is saved";
    notice.classList.add("is-shown");
    notice.replaceChildren(
      make("span", {}, `${why}: ${what}. ${isOver ? "Log in" : "Load the page"} to go on.`), make("span", { class: "spacer" }),
      make("a", { class: "label-small", href: isOver ? loginPath() : location.href, onclick: () => (leaving = true) }, isOver ? "Log in" : "Load again"));
    drawTally();
  };
  let leaving = false;
  let flushing = Promise.resolve();
  const flush = () => (flushing = flushing.then(send));
  const send = async () => {
    while (outbox.length && !halted) {
      sending = true;
      const { part, what } = outbox[0];
      try {
        await ask("POST", `${API}/decisions`, { window: window_, sequence: part.sequence, what, image: part.image });
        part.said = what;
        outbox.shift();
        keep();
      } catch (error) {
        if (isShut(error)) {
          halt(error);
          break;
        }
        if (error.status === 0 || error.status >= 500) {
          tell(`${outbox.length} not saved yet: ${error.message}`);
          await new Promise((resolve) => setTimeout(resolve, 2000));
          continue;
        }
        outbox.shift();
        keep();
        part.lost = true;
        done -= 1;
        tell(`no. ${part.sequence}: ${error.message}`);
      }
      drawTally();
    }
    sending = false;
  };
  const undo = async () => {
    let back = at - 1;
    while (back >= 0 && parts[back].lost) back -= 1;
    if (back < 0) return tell("There is nothing to take back.");
    const part = parts[back];
    const unsent = () => outbox.findIndex((one) => one.part === part);
    if (unsent() < 0 || (unsent() === 0 && sending)) await flush();
    if (part.lost) return;
    if (unsent() >= 0) {
      outbox.splice(unsent(), 1);
      keep();
    } else {
      try {
        await ask("POST", `${API}/undo`, { window: window_, sequence: part.sequence });
      } catch (error) {
        return isShut(error) ? halt(error) : tell(error.message);
      }
    }
    parts.splice(back, 1);
    at -= 1;
    parts.splice(at, 0, part);
    done -= 1;
    prepare(part);
    show();
    tell(`Taken back: no. ${part.sequence}. Say it again.`);
  };

  let toastTimer = 0;
  const tell = (message) => {
    toast.textContent = message;
    toast.classList.add("is-shown");
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => toast.classList.remove("is-shown"), 5000);
  };
  const drawTally = () => {
    const minutes = (performance.now() - began) / 60000;
    const rate = done > 2 && minutes > 0.05 ? ` · ${Math.round(done / minutes)} a minute` : "";
    const left = waiting ? Object.values(waiting).reduce((sum, one) => sum + one, 0) : 0;
    const unsaved = outbox.length > 1 ? ` · ${outbox.length} being saved` : "";
    tally.textContent = `${done} reviewed${rate} · ${Math.max(0, left)}${left >= 10000 ? "+" : ""} waiting${unsaved}`;
  };
  const drawKeys = () => {
    const button = (key, label, act, colour = "") =>
      make("button", { type: "button", class: "review-key", style: colour ? `--key:${colour}` : "", onclick: (event) => { event.currentTarget.blur(); act(); } },
        make("kbd", {}, key), make("span", {}, label));
    const keyed = classes.filter((one) => one.hot_key);
    keys.replaceChildren(
      button("0", "good (false reject)", () => decide("good"), "var(--pass)"),
      ...keyed.map((one) => button(one.hot_key, one.name, () => decide(one.name), one.colour)),
      ...(keyed.length ? [] : [make("span", { class: "muted" }, "No defect class yet: write the class book on the label page.")]),
      button("x", "can't tell", () => decide("unsure"), "var(--unknown)"),
      button("z", "undo", undo));
  };
  drawKeys();

  const shortcuts = {
    0: () => decide("good"), x: () => decide("unsure"), z: undo, Backspace: undo,
    h: () => setOpacity(main.opacity > 0 ? 0 : 0.55), f: () => { main.fit(); golden.fit(); },
    "+": () => main.zoom(1.4), "=": () => main.zoom(1.4), "-": () => main.zoom(1 / 1.4),
    b: () => root.classList.toggle("no-golden"),
    "[": () => setOpacity(main.opacity - 0.1), "]": () => setOpacity(main.opacity + 0.1),
    ArrowLeft: () => main.pan(60, 0), ArrowRight: () => main.pan(-60, 0), ArrowUp: () => main.pan(0, 60), ArrowDown: () => main.pan(0, -60),
    l: () => parts[at] && location.assign(`/label?part=${parts[at].sequence}`),
  };
  addEventListener("keydown", (event) => {
    if (isTyped(event) || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const named = /^[1-9]$/.test(event.key) && classes.find((one) => one.hot_key === Number(event.key));
    const act = named ? () => decide(named.name) : shortcuts[event.key];
    if (!act || (event.repeat && !event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    act();
  });
  addEventListener("beforeunload", (event) => outbox.length && !leaving && event.preventDefault());
  addEventListener("pagehide", () => {
    if (!outbox.length) navigator.sendBeacon(`${API}/release`, new Blob([JSON.stringify({ window: window_ })], { type: "application/json" }));
  });

  window.review = { times, state: () => ({ done, at, waiting, unsent: outbox.length, shown: shown?.sequence ?? 0, loaded: !!shown?.loaded }) };
  fetchKept();
  show();
  flush();
  refill();
});

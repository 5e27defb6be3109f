// The label page: what a part is and where. What is drawn stays in this window until the desk has it: a draft survives a
// reload, a full disk and another person's label of the same part.
"use strict";
viewer.whenThere("label", (root, about) => {
  const { Viewer, load, make, ask, isTyped } = viewer;
  const API = "/api/v1/labels";
  const IGNORE = { name: "", shown: "does not count", colour: "#9aa5b1" };
  const UNDO_STEPS = 60, UNDO_BYTES = 256 << 20;

  let classes = [];
  let list = [];
  let which = sessionStorage.getItem("label-which") ?? "unmarked";
  let part = null;           // what the API says of the part
  let size = { width: 0, height: 0 };
  let bitmap = null, heatmap = null;
  let now = { what: "", note: "", areas: [] };
  let saved = now;
  let past = [], future = [];
  let tool = "select";
  let cls = "";
  let chosen = -1;
  let radius = 12;
  let doing = null;          // a gesture under way
  let shownOther = null;     // areas of somebody else, to compare
  let pointer = null;
  let level = 128;
  const masks = new WeakMap();

  // Elements

  const stage = make("div", { class: "label-stage" });
  const banner = make("div", { class: "label-banner", role: "alert" });
  const strip = make("div", { class: "label-strip", "aria-label": "Parts" });
  const side = make("aside", { class: "label-side" });
  const tools = make("div", { class: "label-tools", role: "toolbar", "aria-label": "Tools" });
  const toast = make("div", { class: "review-toast", role: "status" });
  root.append(tools, strip, make("div", { class: "label-middle" }, stage, banner, toast), side);
  const view = new Viewer(stage, { drag: false });
  view.layers.push(paint);

  let toastTimer = 0;
  const tell = (message) => {
    toast.textContent = message;
    toast.classList.add("is-shown");
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => toast.classList.remove("is-shown"), 4500);
  };
  const warn = (message, bad, ...actions) => {
    banner.className = `label-banner is-shown${bad ? " is-bad" : ""}`;
    banner.replaceChildren(make("span", {}, message), make("span", { class: "spacer" }), ...actions);
  };
  const calm = () => (banner.className = "label-banner");
  const small = (text, act, title) => make("button", { type: "button", class: "label-small", title, onclick: (event) => { event.currentTarget.blur(); act(event); } }, text);
  const colourOf = (name) => (classes.find((one) => one.name === name) ?? IGNORE).colour;
  const isDirty = () => now !== saved;

  // Changes, and their undoing

  const change = (next) => {
    past.push(now);
    future = [];
    now = { ...now, ...next };
    forget();
    keepDraft();
    refresh();
  };
  // Old steps go when there are many, or when their masks take much memory.
  const forget = () => {
    const seen = new Set();
    let bytes = 0, kept = 0;
    for (let n = past.length - 1; n >= 0; n--) {
      for (const area of past[n].areas)
        if (area.pixels && !seen.has(area.pixels)) {
          seen.add(area.pixels);
          bytes += area.pixels.length;
        }
      if (++kept > UNDO_STEPS || bytes > UNDO_BYTES) return past.splice(0, n);
    }
  };
  const undo = () => {
    if (doing?.points) { doing = null; return view.draw(); }
    if (!past.length) return;
    future.push(now);
    now = past.pop();
    chosen = -1;
    keepDraft();
    refresh();
  };
  const redo = () => {
    if (!future.length) return;
    past.push(now);
    now = future.pop();
    chosen = -1;
    keepDraft();
    refresh();
  };
  const put = (area) => {
    const what = area.cls && (!now.what || now.what === "good" || now.what === "unsure") ? area.cls : now.what;
    change({ areas: [...now.areas, area], what });
    chosen = now.areas.length - 1;
    refresh();
  };
  const replace = (index, area) => change({ areas: now.areas.map((one, n) => (n === index ? area : one)) });
  const removeChosen = () => {
    if (chosen < 0) return;
    const areas = now.areas.filter((_, n) => n !== chosen);
    chosen = -1;
    change({ areas });
  };

  // Drafts

  const draftKey = () => `label-draft-${about.line}-${about.user}-${part.part.sequence}-${part.part.image.slice(0, 12)}`;
  let draftTimer = 0;
  const keepDraft = () => {
    clearTimeout(draftTimer);
    const key = draftKey();
    draftTimer = setTimeout(() => {
      if (!isDirty()) return localStorage.removeItem(key);
      try {
        localStorage.setItem(key, JSON.stringify({ ...now, areas: now.areas.map((area) => areas.toApi(area, size)) }));
      } catch {
        // The browser's store is full: the window itself still has it, and leaving asks first.
      }
    }, 400);
  };
  const readDraft = () => {
    try {
      const draft = JSON.parse(localStorage.getItem(draftKey()));
      return draft && { ...draft, areas: draft.areas.map((area) => areas.fromApi(area, size)) };
    } catch {
      return null;
    }
  };

  // A part

  const mine = (said) => {
    const current = part.history.filter((one) => one.counts);
    const own = current.find((one) => one.author === about.user);
    const agreed = part.agreed ? [...current].reverse().find((one) => one.what === part.agreed && one.areas.length) ?? current.find((one) => one.what === part.agreed) : null;
    const from = own ?? agreed ?? current.at(-1);
    const here = from && (!from.image || from.image === part.part.image);
    return from
      ? { what: from.what, note: from === own ? from.note : "", areas: here ? from.areas.map((area) => areas.fromApi(area, size)) : [] }
      : { what: "", note: "", areas: [] };
  };
  const open = async (sequence, image = "") => {
    if (isDirty() && part && part.part.sequence !== sequence) keepDraft();
    let next;
    try {
      next = await ask("GET", `${API}/${sequence}?image=${image}`);
    } catch (error) {
      return warn(error.message, true);
    }
    const [picture, heat] = await Promise.all([load(next.part.picture), load(next.part.heat)]);
    part = next;
    bitmap?.close();
    heatmap?.close();
    bitmap = picture;
    heatmap = heat;
    size = picture ? { width: picture.width, height: picture.height } : { width: 0, height: 0 };
    calm();
    begin();
    history.replaceState(null, "", `/label?part=${sequence}${image ? `&image=${image}` : ""}`);
    const draft = picture ? readDraft() : null;
    if (draft) {
      past.push(now);
      now = draft;
      warn("What you drew here before was not saved. It is shown again.", false,
        small("Save it", save), small("Throw it away", () => { now = saved; past = []; localStorage.removeItem(draftKey()); calm(); refresh(); }));
    }
    if (!picture) warn("This part has no picture to draw in: label it as a whole.", false);
    view.fitted = true;
    view.show(bitmap, heatmap, findings());
    refresh();
    const here = list.findIndex((one) => one.sequence === sequence);
    for (const one of list.slice(here + 1, here + 3)) fetch(`/api/v1/pictures/${one.sequence}/0/view`, { credentials: "same-origin" }).catch(() => null);
  };
  const begin = () => {
    now = saved = mine();
    past = [];
    future = [];
    chosen = -1;
    doing = null;
    shownOther = null;
    const first = now.areas.find((area) => area.cls)?.cls ?? classes.find((one) => one.name === now.what)?.name;
    cls = first ?? (classes.some((one) => one.name === cls) ? cls : classes[0]?.name ?? "");
  };
  const findings = () => (!showFindings ? [] : part.part.findings.map((one) => ({
    x: one.x, y: one.y, width: one.width, height: one.height, colour: "#cfd8e3", text: `model: ${one.defect_class}`,
  })));
  let showFindings = true;

  // One at a time: a second one would come with the same version, and be told of the first as of somebody else's.
  let saving = null;
  const save = (newClass = false) => (saving ??= saveNow(newClass).finally(() => (saving = null)));
  const saveNow = async (newClass) => {
    if (!part) return;
    if (isTyped({ target: document.activeElement })) document.activeElement.blur();
    finish();
    if (!now.what) return warn("Say what the part is: good, can't tell, or a class. Drawing a defect says its class.", false);
    const counting = now.areas.filter((area) => area.cls);
    if ((now.what === "good" || now.what === "unsure") && counting.length)
      return warn(`The part is labelled ${now.what} and has ${counting.length} defect(s) drawn: decide on one.`, true);
    const body = {
      version: part.version, what: now.what, note: now.note, image: bitmap ? part.part.image : "", new_class: newClass === true,
      areas: now.areas.map((area) => areas.toApi(area, size)),
    };
    const sent = now;
    try {
      part = await ask("POST", `${API}/${part.part.sequence}`, body);
      saved = sent;
      localStorage.removeItem(draftKey());
      clearTimeout(draftTimer);
      if (isDirty()) keepDraft();
      calm();
      tell(`Saved: no. ${part.part.sequence} is ${now.what}, ${now.areas.length} area(s).`);
      const card = list.find((one) => one.sequence === part.part.sequence);
      if (card) card.said = part.agreed || part.outcome;
      drawStrip();
      refresh();
      return true;
    } catch (error) {
      keepDraft();
      if (error.status === 409) await conflict(error);
      else if (error.kind === "LabelInvalid" && /--new-class/.test(error.message))
        warn(error.message.split("\n")[0].replace(/, or give --new-class.*/, ", or say that it is another class."), true, small("It is another class", () => save(true)));
      else warn(`Not saved, and nothing is lost: ${error.message}`, true, small("Try again", save));
      return false;
    }
  };
  // Somebody labelled the part meanwhile: theirs is shown beside mine, and saving again adds mine to theirs.
  const conflict = async (error) => {
    const theirs = await ask("GET", `${API}/${part.part.sequence}?image=${part.part.image}`).catch(() => null);
    if (!theirs) return warn(error.message, true);
    part = theirs;
    const last = part.history.at(-1);
    shownOther = last.areas.map((area) => areas.fromApi(area, size));
    warn(`${last.author} has labelled this part as ${last.what} meanwhile; their areas are dashed. Yours is not saved yet.`, true,
      small("Save mine beside theirs", save),
      small("Take theirs", () => { localStorage.removeItem(draftKey()); begin(); now = { ...now, what: last.what, note: "", areas: shownOther ?? [] }; calm(); refresh(); }));
    refresh();
  };

  const accept = async () => {
    if (!part) return;
    try {
      const found = await ask("GET", `${API}/${part.part.sequence}/regions?level=${level}&image=${part.part.image}`);
      if (!found.length) return tell("The heat map marks nothing at this level: lower it, or draw by hand.");
      const of = (region) => (classes.some((one) => one.name === region.defect_class) ? region.defect_class : cls);
      const taken = found.slice(0, 24).map((region) => ({ cls: of(region), kind: "polygon", points: region.polygon.map(([x, y]) => [areas.clamp(x, size.width), areas.clamp(y, size.height)]) }));
      const what = !now.what || now.what === "good" || now.what === "unsure" ? taken[0].cls || now.what : now.what;
      change({ areas: [...now.areas, ...taken], what });
      chosen = now.areas.length - 1;
      tool = "select";
      refresh();
      tell(`${taken.length} region(s) of the model taken: correct them, then save.`);
    } catch (error) {
      tell(error.message);
    }
  };

  const step = async (by) => {
    const here = list.findIndex((one) => one.sequence === part?.part.sequence);
    const next = list[here + by];
    if (!next) return tell(by > 0 ? "That was the last of the list." : "That was the first of the list.");
    if (isDirty() && !(await save())) return;
    open(next.sequence);
  };

  // Drawing

  function paint(c) {
    const width = 2 / view.scale;
    const draw = (area, index, dashed) => {
      const colour = colourOf(area.cls);
      const picked = index === chosen && !dashed;
      c.setLineDash(dashed ? [8 / view.scale, 5 / view.scale] : area.cls ? [] : [3 / view.scale, 4 / view.scale]);
      if (area.kind === "mask") {
        let image = masks.get(area.pixels);
        if (!image || image.colour !== colour) {
          image = { colour, canvas: areas.pictured(area.pixels, size, colour) };
          masks.set(area.pixels, image);
        }
        c.globalAlpha = dashed ? 0.25 : picked ? 0.62 : 0.45;
        c.imageSmoothingEnabled = false;
        c.drawImage(image.canvas, 0, 0);
        c.globalAlpha = 1;
        return;
      }
      const points = area.kind === "box" ? areas.corners(area) : area.points;
      c.beginPath();
      points.forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y)));
      c.closePath();
      c.fillStyle = colour;
      c.globalAlpha = dashed ? 0.06 : picked ? 0.32 : 0.2;
      c.fill();
      c.globalAlpha = 1;
      c.lineWidth = width * 2;
      c.strokeStyle = "rgb(0 0 0 / 65%)";
      c.stroke();
      c.lineWidth = width;
      c.strokeStyle = colour;
      c.stroke();
      if (picked && tool === "select") {
        c.setLineDash([]);
        const half = 4 / view.scale;
        for (const [x, y] of points) {
          c.fillStyle = "#fff";
          c.fillRect(x - half, y - half, 2 * half, 2 * half);
          c.strokeRect(x - half, y - half, 2 * half, 2 * half);
        }
      }
    };
    shownOther?.forEach((area) => draw(area, -1, true));
    now.areas.forEach((area, index) => draw(doing?.index === index && doing.area ? doing.area : area, index, false));
    if (doing?.points) {
      c.setLineDash([]);
      c.lineWidth = width;
      c.strokeStyle = colourOf(cls);
      c.beginPath();
      [...doing.points, ...(pointer ? [view.at(...pointer)] : [])].forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y)));
      c.stroke();
      for (const [x, y] of doing.points) {
        c.fillStyle = "#fff";
        c.fillRect(x - 3 / view.scale, y - 3 / view.scale, 6 / view.scale, 6 / view.scale);
      }
    } else if (doing?.index === undefined && doing?.area) draw(doing.area, chosen, false);
    c.setLineDash([]);
    if ((tool === "brush" || tool === "erase") && pointer) {
      const [x, y] = view.at(...pointer);
      c.beginPath();
      c.arc(x, y, radius, 0, 7);
      c.lineWidth = 2.5 / view.scale;
      c.strokeStyle = "rgb(0 0 0 / 70%)";
      c.stroke();
      c.lineWidth = 1.2 / view.scale;
      c.strokeStyle = tool === "erase" ? "#fff" : colourOf(cls);
      c.stroke();
    }
  }

  const within = ([x, y]) => [areas.clamp(x, size.width), areas.clamp(y, size.height)];
  const near = () => 9 / view.scale;
  const down = (event) => {
    if (!bitmap || event.button > 0 || view.pinching || tool === "hand") return;
    const place = within(view.at(...view.place(event)));
    view.canvas.setPointerCapture(event.pointerId);
    if (tool === "box") doing = { from: place, area: { cls, kind: "box", ...areas.boxOf(place, place, size) } };
    else if (tool === "polygon") return corner(place);
    else if (tool === "brush" || tool === "erase") return stroke(place, place, true);
    else select(place, event);
    view.draw();
  };
  const corner = (place) => {
    const points = doing?.points ?? [];
    if (points.length > 2 && Math.hypot(points[0][0] - place[0], points[0][1] - place[1]) < near()) return finish();
    doing = { points: [...points, place] };
    view.draw();
  };
  // The end of a gesture that takes several presses.
  const finish = () => {
    const points = doing?.points;
    if (!points) return;
    doing = null;
    if (points.length > 2) put({ cls, kind: "polygon", points });
    view.draw();
  };
  const stroke = (from, to, first) => {
    if (first) {
      const under = now.areas.findIndex((area, n) => area.kind === "mask" && (tool === "erase" ? n === chosen : area.cls === cls && (chosen < 0 || n === chosen)));
      const erased = tool === "erase" && under < 0 ? now.areas.findLastIndex((area) => area.kind === "mask" && areas.holds(area, to, size)) : under;
      if (tool === "erase" && erased < 0) return tell("Choose a mask to erase in, or begin on one; corners of outlines are dragged.");
      const pixels = erased < 0 ? new Uint8Array(size.width * size.height) : now.areas[erased].pixels.slice();
      doing = { stroke: true, index: erased < 0 ? undefined : erased, area: { cls: erased < 0 ? cls : now.areas[erased].cls, kind: "mask", pixels } };
    }
    areas.stroked(doing.area.pixels, size, from, to, radius, tool === "erase" ? 0 : 1);
    doing.last = to;
    // Drawn anew for each move; WeakMap keys are the pixels, so a copy would be as dear.
    masks.delete(doing.area.pixels);
    view.draw();
  };
  const select = (place, event) => {
    const picked = now.areas[chosen];
    const held = picked && areas.grip(picked, place, near());
    if (held && event.altKey && held.corner !== undefined && picked.kind === "polygon") {
      if (picked.points.length > 3) replace(chosen, { ...picked, points: picked.points.filter((_, n) => n !== held.corner) });
      return;
    }
    if (held?.corner !== undefined) doing = { index: chosen, corner: held.corner, area: picked };
    else if (held) {
      const points = [...picked.points.slice(0, held.edge + 1), held.place, ...picked.points.slice(held.edge + 1)];
      doing = { index: chosen, corner: held.edge + 1, area: { ...picked, points } };
    } else {
      // The smallest there, so that one inside another can be chosen.
      const there = now.areas.map((area, n) => [area, n]).filter(([area]) => areas.holds(area, place, size));
      chosen = there.length ? there.reduce((one, two) => (areas.areaOf(two[0]) < areas.areaOf(one[0]) ? two : one))[1] : -1;
      if (chosen >= 0) {
        cls = now.areas[chosen].cls;
        doing = { index: chosen, from: place, area: now.areas[chosen] };
      }
      drawSide();
    }
  };
  const move = (event) => {
    pointer = view.place(event);
    if (!doing || view.pinching) {
      if (tool !== "select") view.draw();
      return;
    }
    const place = within(view.at(...pointer));
    if (doing.points) return view.draw();
    if (doing.stroke) return stroke(doing.last, place, false);
    const area = now.areas[doing.index];
    if (tool === "box") doing.area = { ...doing.area, ...areas.boxOf(doing.from, place, size) };
    else if (doing.corner !== undefined && area.kind === "box") {
      const opposite = areas.corners(area)[(doing.corner + 2) % 4];
      doing.area = { ...area, ...areas.boxOf(opposite, place, size) };
    } else if (doing.corner !== undefined) {
      doing.area = { ...doing.area, points: doing.area.points.map((point, n) => (n === doing.corner ? place : point)) };
    } else if (doing.from) doing.area = areas.movedBy(area, place[0] - doing.from[0], place[1] - doing.from[1], size);
    view.draw();
  };
  const up = () => {
    if (!doing || doing.points) return;
    const { index, area, from } = doing;
    const before = now.areas[index];
    doing = null;
    if (area.kind === "mask" && !area.pixels.some(Boolean)) {
      if (index !== undefined) { chosen = index; removeChosen(); }
    } else if (index === undefined) {
      if (area.kind !== "box" || !from || area.width > 2 || area.height > 2) put(area);
    } else if (area !== before) replace(index, area);
    view.draw();
  };
  view.canvas.addEventListener("pointerdown", down);
  view.canvas.addEventListener("pointermove", move);
  view.canvas.addEventListener("pointerup", up);
  view.canvas.addEventListener("pointercancel", () => { doing = null; view.draw(); });
  view.canvas.addEventListener("pointerleave", () => { pointer = null; view.draw(); });
  view.canvas.addEventListener("dblclick", finish);

  // Panels

  const TOOLS = [["v", "select", "Select"], ["b", "box", "Box"], ["p", "polygon", "Outline"], ["m", "brush", "Brush"], ["e", "erase", "Eraser"], ["d", "hand", "Move"]];
  const setTool = (name) => {
    finish();
    tool = name;
    view.dragging = name === "hand";
    stage.style.cursor = { select: "default", hand: "grab" }[name] ?? "crosshair";
    drawTools();
    view.draw();
  };
  const drawTools = () => {
    const button = (key, word, act, { pressed, disabled, main, title } = {}) =>
      make("button", { type: "button", class: `label-tool${main ? " is-main" : ""}`, "aria-pressed": pressed === undefined ? null : String(pressed), disabled, title: title ?? word, onclick: (event) => { event.currentTarget.blur(); act(); } },
        make("kbd", {}, key), make("span", {}, word));
    const gap = () => make("span", { class: "label-gap" });
    const heat = make("input", { type: "range", min: 0, max: 100, value: Math.round(view.opacity * 100), "aria-label": "Heat map opacity", style: "width:54px", oninput: (event) => { view.opacity = event.target.value / 100; view.draw(); }, onchange: (event) => event.target.blur() });
    const levels = make("input", { type: "range", min: 40, max: 250, value: level, title: "How much the model must mark; the middle is its limit", "aria-label": "Level of the heat map", style: "width:54px", oninput: (event) => { level = Number(event.target.value); }, onchange: (event) => event.target.blur() });
    tools.replaceChildren(
      ...TOOLS.map(([key, name, word]) => button(key, word, () => setTool(name), { pressed: tool === name })), gap(),
      button("a", "Accept region", accept, { disabled: !part?.part.heat, title: "Accept the model's region: what the heat map marks" }), levels, gap(),
      button("h", "Heat map", () => { view.opacity = view.opacity > 0 ? 0 : 0.45; drawTools(); view.draw(); }, { pressed: view.opacity > 0 && !!heatmap }), heat, gap(),
      button("z", "↶", undo, { disabled: !past.length, title: "Undo" }), button("y", "↷", redo, { disabled: !future.length, title: "Redo" }),
      make("span", { class: "spacer" }),
      button("j", "◂", () => step(-1), { title: "Save, and the part before" }), button("k", "Next ▸", () => step(1), { title: "Save, and the next part" }),
      button("s", isDirty() ? "Save" : "Saved", () => save(), { main: true, disabled: !part || !isDirty() }));
  };
  const drawStrip = () => {
    const options = [["unmarked", "defects to mark"], ["disagreed", "disagreements"], ["unsure", "can't tell"], ["last", "labelled last"], ["rejects", "rejects"]];
    strip.replaceChildren(
      make("select", { "aria-label": "Which parts", onchange: (event) => { which = event.target.value; sessionStorage.setItem("label-which", which); event.target.blur(); fetchList(); } },
        ...options.map(([key, word]) => make("option", { value: key, selected: key === which }, word))),
      make("input", { type: "search", placeholder: "part or number", "aria-label": "Find a part", onchange: (event) => find(event.target.value) }),
      ...list.map((one) => make("button", { type: "button", class: "label-card", "aria-current": String(one.sequence === part?.part.sequence), onclick: async () => { if (!isDirty() || (await save())) open(one.sequence); } },
        one.thumbnail ? make("img", { src: one.thumbnail, alt: "", loading: "lazy" }) : make("span", { class: "muted" }, "no picture"),
        make("span", {}, `${one.part_id || "no. " + one.sequence}`), make("span", { class: "muted" }, one.said))),
      ...(list.length ? [] : [make("div", { class: "muted" }, "No such part. Review some first, or choose another list.")]),
      ...(about.edits ? [small("Export, import …", () => labelFiles.open(fetchList))] : []));
    strip.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  };
  const drawSide = () => {
    if (!part) return side.replaceChildren(make("p", { class: "muted" }, "Choose a part on the left, or find one by its id or number."));
    const swatch = (one) => make("span", { class: `label-swatch${one.name ? "" : " is-ignore"}`, style: one.name ? `background:${one.colour}` : "" });
    const said = (what, word, key) => make("button", { type: "button", class: "label-small", "aria-pressed": String(now.what === what), style: now.what === what ? "outline:2px solid var(--accent)" : "", onclick: (event) => { event.currentTarget.blur(); setWhat(what); } }, key ? make("kbd", {}, key) : null, ` ${word}`);
    const history = part.history.map((one, number) => make("div", { class: `label-said ${one.counts ? "is-current" : "is-old"}` },
      make("strong", {}, one.what), ` ${one.author}, ${new Date(one.time).toLocaleString()}`,
      one.marked ? " " : null, one.marked ? small(`${one.marked} area(s)`, () => showOther(number), "Show them dashed") : null,
      one.note ? make("div", {}, one.note) : null)).reverse();
    side.replaceChildren(
      make("section", {}, make("h2", {}, part.part.part_id || `no. ${part.part.sequence}`, make("span", { class: `pill is-${part.part.verdict.toLowerCase()}` }, part.part.verdict)),
        make("div", { class: "muted" }, part.part.headline, part.part.score === null ? "" : ` · ${part.part.score.toPrecision(4)} / ${part.part.limit.toPrecision(4)}`),
        part.frames.length > 1 ? make("div", { class: "label-what" }, ...part.frames.map((frame, n) => small(frame.view || `picture ${n + 1}`, () => open(part.part.sequence, frame.image)))) : null),
      make("section", {}, make("h2", {}, "The part is"),
        make("div", { class: "label-what" }, said("good", "good", "0"), said("unsure", "can't tell", "x"),
          ...classes.filter((one) => one.name === now.what || now.areas.some((area) => area.cls === one.name) || one.name === cls).map((one) => said(one.name, one.name)))),
      make("section", {}, make("h2", {}, "Draw as", make("span", { class: "spacer" }), about.edits ? small("New class", () => editClass(null)) : null),
        ...[...classes, IGNORE].map((one) => make("div", { style: "display:flex" },
          make("button", { type: "button", class: "label-class", "aria-pressed": String(cls === one.name), title: one.definition || one.shown || one.name, onclick: (event) => { event.currentTarget.blur(); setClass(one.name); } },
            swatch(one), make("span", {}, one.shown ?? one.name), make("span", { class: "spacer" }), one.name ? (one.hot_key ? make("kbd", {}, one.hot_key) : null) : make("kbd", {}, "i")),
          one.name && about.edits ? small("⋯", () => editClass(one), `What is meant by ${one.name}`) : null))),
      make("section", {}, make("h2", {}, `Areas (${now.areas.length})`, make("span", { class: "spacer" }), chosen >= 0 ? small("Delete", removeChosen, "Del") : null),
        ...now.areas.map((area, n) => make("button", { type: "button", class: "label-area", "aria-pressed": String(n === chosen), onclick: (event) => { event.currentTarget.blur(); chosen = n; cls = area.cls; refresh(); } },
          swatch(area.cls ? { name: area.cls, colour: colourOf(area.cls) } : IGNORE), make("span", {}, area.cls || IGNORE.shown), make("span", { class: "spacer" }),
          make("span", { class: "muted" }, `${{ box: "box", polygon: "outline", mask: "mask" }[area.kind]}, ${Math.round(areas.areaOf(area))} px`)))),
      make("section", {}, make("h2", {}, "Note"), make("textarea", { class: "label-note", rows: 2, maxlength: 4000, "aria-label": "Note", onchange: (event) => change({ note: event.target.value }) }, now.note)),
      make("section", {}, make("h2", {}, `History (${part.history.length})`, make("span", { class: "spacer" }), shownOther ? small("Hide areas", () => { shownOther = null; refresh(); }) : null),
        make("div", { class: "label-history" }, ...(history.length ? history : [make("div", { class: "muted" }, "Nobody has labelled this part.")]))));
  };
  const showOther = async (number) => {
    try {
      const found = await ask("GET", `${API}/${part.part.sequence}/history/${number}`);
      shownOther = found.map((area) => areas.fromApi(area, size));
      refresh();
    } catch (error) {
      tell(error.message);
    }
  };
  const refresh = () => {
    drawTools();
    drawSide();
    if (part) view.boxes = findings();
    view.draw();
  };
  const setWhat = (what) => {
    if (what !== now.what) change({ what });
  };
  const setClass = (name) => {
    cls = name;
    if (tool === "select" && chosen >= 0 && now.areas[chosen].cls !== name) {
      const area = { ...now.areas[chosen], cls: name };
      const kept = now.areas.map((one, n) => (n === chosen ? area : one));
      const counts = kept.some((one) => one.cls === now.what);
      change({ areas: kept, what: name && !counts && now.what !== "good" && now.what !== "unsure" ? name : now.what });
    } else refresh();
  };

  // The class book

  const editClass = (one) => classBook.edit(one, {
    classes,
    example: part && bitmap ? { sequence: part.part.sequence, image: part.part.image } : null,
    done: async (name) => {
      classes = await ask("GET", "/api/v1/classes");
      if (name) cls = name;
      refresh();
    },
  });

  // Lists

  const fetchList = async () => {
    try {
      list = await ask("GET", `${API}?which=${which}&limit=80`);
    } catch (error) {
      warn(error.message, true);
    }
    drawStrip();
    if (!part && list.length) open(list[0].sequence);
  };
  const find = async (text) => {
    if (!text.trim()) return fetchList();
    try {
      list = await ask("GET", `${API}/find?part=${encodeURIComponent(text)}`);
      drawStrip();
      if (list.length) open(list[0].sequence);
    } catch (error) {
      tell(error.message);
    }
  };

  const shortcuts = {
    ...Object.fromEntries(TOOLS.map(([key, name]) => [key, () => setTool(name)])),
    a: accept, h: () => { view.opacity = view.opacity > 0 ? 0 : 0.45; refresh(); }, z: undo, y: redo, s: () => save(), j: () => step(-1), k: () => step(1),
    i: () => setClass(""), 0: () => setWhat("good"), x: () => setWhat("unsure"), f: () => view.fit(), o: () => { showFindings = !showFindings; refresh(); },
    Delete: removeChosen, Backspace: removeChosen, Enter: finish,
    Escape: () => { doing = null; chosen = -1; shownOther = null; calm(); refresh(); },
    "[": () => { radius = Math.max(1, radius / 1.25); view.draw(); }, "]": () => { radius = Math.min(400, radius * 1.25); view.draw(); },
    "+": () => view.zoom(1.4), "=": () => view.zoom(1.4), "-": () => view.zoom(1 / 1.4),
  };
  const nudges = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      const act = { z: event.shiftKey ? redo : undo, y: redo, s: () => save() }[event.key.toLowerCase()];
      if (act) event.preventDefault();
      if (act && !(event.repeat && event.key.toLowerCase() === "s")) act();
      return;
    }
    if (isTyped(event) || event.altKey) return;
    if (nudges[event.key]) {
      event.preventDefault();
      const [x, y] = nudges[event.key].map((one) => one * (event.shiftKey ? 10 : 1));
      if (chosen >= 0) replace(chosen, areas.movedBy(now.areas[chosen], x, y, size));
      else view.pan(-60 * Math.sign(x), -60 * Math.sign(y));
      return;
    }
    const named = /^[1-9]$/.test(event.key) && classes.find((one) => one.hot_key === Number(event.key));
    const act = named ? () => setClass(named.name) : shortcuts[event.key];
    if (!act) return;
    event.preventDefault();
    if (!event.repeat || !["s", "a"].includes(event.key)) act();
  });
  addEventListener("beforeunload", (event) => isDirty() && event.preventDefault());

  window.labelling = { state: () => ({ dirty: isDirty(), areas: now.areas.map((area) => areas.toApi(area, size)), what: now.what, part: part?.part.sequence ?? 0, version: part?.version ?? -1, cls, tool, scale: view.scale, left: view.left, top: view.top }) };
  (async () => {
    try {
      classes = await ask("GET", "/api/v1/classes");
    } catch (error) {
      warn(error.message, true);
    }
    drawTools();
    drawSide();
    const wanted = new URLSearchParams(location.search);
    if (wanted.get("part")) await open(Number(wanted.get("part")), wanted.get("image") ?? "");
    setTool("select");
    fetchList();
  })();
});

// The class book's dialog: what is meant by a class, in words and pictures, with a colour and a key.
"use strict";
(() => {
  const { make, ask } = viewer;

  // `one` is a class of the book, or null for a new one. `example` is a picture that may be added, or null.
  const edit = (one, { classes, example, done }) => {
    const taken = new Set(classes.filter((other) => other !== one).map((other) => other.hot_key));
    const free = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((key) => !taken.has(key));
    const name = make("input", { type: "text", maxlength: 64, required: true, value: one?.name ?? "", readonly: !!one, "aria-label": "Name" });
    const definition = make("textarea", { maxlength: 4000, placeholder: "How to tell it, and from what it must be told apart" }, one?.definition ?? "");
    const colour = make("input", { type: "color", value: one?.colour ?? "#0072b2" });
    const key = make("select", {}, make("option", { value: "" }, "none"),
      ...free.map((number) => make("option", { value: number, selected: number === (one ? one.hot_key : free[0]) }, number)));
    let examples = [...(one?.examples ?? [])];
    const pictures = make("div", { class: "label-examples" });
    const draw = () => pictures.replaceChildren(
      ...examples.map((shown) => make("figure", { class: "label-example", style: "margin:0" },
        make("img", { src: shown.thumbnail || `/api/v1/pictures/${shown.sequence}/0/thumbnail`, alt: `example, no. ${shown.sequence}` }),
        make("button", { type: "button", "aria-label": "Take this example out", onclick: () => { examples = examples.filter((other) => other !== shown); draw(); } }, "✕"))),
      ...(examples.length ? [] : [make("span", { class: "muted" }, "No example yet.")]),
      example && !examples.some((shown) => shown.image === example.image)
        ? make("button", { type: "button", class: "label-small", onclick: () => { examples.push({ ...example, note: "" }); draw(); } }, "Add the open picture") : "");
    draw();
    const error = make("div", { class: "canvas-error", role: "alert" });
    const close = () => { dialog.close(); dialog.remove(); };
    const form = make("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          const saved = await ask("PUT", `/api/v1/classes/${encodeURIComponent(name.value.trim())}`, {
            definition: definition.value, colour: colour.value, hot_key: key.value ? Number(key.value) : null, version: one?.version ?? 0,
            examples: examples.map((shown) => ({ sequence: shown.sequence, image: shown.image, note: shown.note })),
          });
          close();
          done(saved.name);
        } catch (failed) {
          error.textContent = failed.message;
        }
      },
    },
      make("label", {}, "Name", name), make("label", {}, "What is meant", definition),
      make("div", { class: "canvas-row" }, make("label", {}, "Colour", colour), make("label", {}, "Key", key)),
      make("div", {}, make("strong", {}, "Examples"), pictures), error,
      make("div", { class: "canvas-actions" },
        one?.version ? make("button", { type: "button", onclick: async () => {
          try {
            await ask("DELETE", `/api/v1/classes/${encodeURIComponent(one.name)}?version=${one.version}`);
            close();
            done("");
          } catch (failed) {
            error.textContent = failed.message;
          }
        } }, "Take out of the book") : null,
        make("span", { class: "spacer" }),
        make("button", { type: "button", onclick: close }, "Cancel"), make("button", { type: "submit", class: "is-main" }, "Save")));
    const dialog = make("dialog", { class: "canvas-dialog" }, make("h2", {}, one ? `Class ${one.name}` : "A new class"), form);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    (one ? definition : name).focus();
  };

  window.classBook = { edit };
})();

// Labels to other programs and back: the dialog of the label page.
"use strict";
(() => {
  const { make, ask } = viewer;
  const API = "/api/v1/label-files";

  const open = async (done) => {
    const formats = await ask("GET", API).catch(() => []);
    const format = make("select", {}, ...formats.map((one) => make("option", { value: one.name }, one.title)));
    const told = make("div", { class: "canvas-error", role: "alert" });
    const file = make("input", { type: "file", accept: ".zip,.json,.csv" });
    const otherClass = make("input", { type: "checkbox" });
    const close = () => dialog.close();
    const send = async () => {
      const [chosen] = file.files;
      if (!chosen) return (told.textContent = "Choose a ZIP, JSON or CSV file first.");
      told.textContent = `Sending ${chosen.name} …`;
      try {
        const asked = new URLSearchParams({ file: chosen.name, new_class: otherClass.checked });
        const answer = await fetch(`${API}?${asked}`, { method: "POST", credentials: "same-origin", body: chosen });
        const said = await answer.json();
        if (!answer.ok) return (told.textContent = said.error.message);
        told.textContent = `${said.added} label(s) added, ${said.labels - said.added} said already.`;
        done();
      } catch {
        told.textContent = "The desk cannot be reached, or the file was changed meanwhile: try again.";
      }
    };
    const dialog = make("dialog", { class: "canvas-dialog" }, make("h2", {}, "Labels to other programs, and back"),
      make("form", { onsubmit: (event) => event.preventDefault() },
        make("div", { class: "canvas-row" }, make("label", {}, "Take out as", format),
          make("div", { class: "canvas-actions", style: "margin:0" }, make("button", { type: "button", class: "is-main", onclick: () => location.assign(`${API}/${format.value}`) }, "Download"))),
        make("p", { class: "muted", style: "margin:0" }, "A ZIP file with the pictures. What the format has no word for is kept beside, so that it comes back as it was."),
        make("div", { class: "canvas-row" }, make("label", {}, "Bring in", file),
          make("div", { class: "canvas-actions", style: "margin:0" }, make("button", { type: "button", class: "is-main", onclick: send }, "Import"))),
        make("p", { class: "muted", style: "margin:0" }, "A time without a zone counts as UTC. What others have not said yet, an approver brings in under their names."),
        make("label", { style: "display:flex;gap:6px;align-items:center" }, otherClass, "Classes are not known ones misspelt"),
        told, make("div", { class: "canvas-actions" }, make("button", { type: "button", onclick: close }, "Close"))));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };

  window.labelFiles = { open };
})();

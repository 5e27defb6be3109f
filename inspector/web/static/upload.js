// Sends files to a set in pieces; what was interrupted goes on where the desk says it stopped.
"use strict";
(() => {
  const PIECE = 4 << 20;
  const RETRIES = 8;

  // SHA-256 (FIPS 180-4) piece by piece: the browser's own wants the whole file in memory.
  const K = new Uint32Array(64);
  const H = new Uint32Array(8);
  for (let n = 2, found = 0; found < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) { prime = false; break; }
    if (!prime) continue;
    if (found < 8) H[found] = (Math.sqrt(n) % 1) * 4294967296;
    K[found++] = (Math.cbrt(n) % 1) * 4294967296;
  }
  class Sha256 {
    constructor() { this.h = H.slice(); this.w = new Uint32Array(64); this.rest = new Uint8Array(64); this.held = 0; this.size = 0; }
    block(data, at) {
      const { h, w } = this;
      for (let i = 0; i < 16; i++, at += 4) w[i] = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
      for (let i = 16; i < 64; i++) {
        const a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3)) + (((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10));
      }
      let [a, b, c, d, e, f, g, i0] = h;
      for (let i = 0; i < 64; i++) {
        const one = (i0 + (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const two = ((((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        i0 = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
      }
      h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += i0;
    }
    add(data) {
      this.size += data.length;
      let at = 0;
      if (this.held) {
        at = Math.min(64 - this.held, data.length);
        this.rest.set(data.subarray(0, at), this.held);
        this.held += at;
        if (this.held < 64) return;
        this.block(this.rest, 0);
        this.held = 0;
      }
      for (; at + 64 <= data.length; at += 64) this.block(data, at);
      this.rest.set(data.subarray(at));
      this.held = data.length - at;
    }
    end() {
      const bits = this.size * 8;
      const tail = new Uint8Array((this.held < 56 ? 64 : 128) - this.held);
      tail[0] = 0x80;
      new DataView(tail.buffer).setUint32(tail.length - 8, Math.floor(bits / 4294967296));
      new DataView(tail.buffer).setUint32(tail.length - 4, bits >>> 0);
      this.add(tail);
      return [...this.h].map((word) => word.toString(16).padStart(8, "0")).join("");
    }
  }

  const field = (id) => document.getElementById(id)?.value ?? "";
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const nap = () => wait(0);

  const line = (name) => {
    const item = document.createElement("li");
    const title = document.createElement("div");
    title.className = "upload-name";
    title.textContent = name;
    const bar = document.createElement("div");
    bar.className = "bar";
    const fill = document.createElement("div");
    fill.className = "bar-fill";
    bar.append(fill);
    const told = document.createElement("div");
    told.className = "muted";
    item.append(title, bar, told);
    document.getElementById("upload-list").prepend(item);
    return { share: (value) => { fill.style.width = `${100 * value}%`; }, tell: (text, kind) => { told.textContent = text; item.className = kind || ""; } };
  };

  const ask = async (method, path, body, raw) => {
    const answer = await fetch(`/api/v1${path}`, {
      method,
      headers: raw ? { "Content-Type": "application/octet-stream" } : body ? { "Content-Type": "application/json" } : {},
      body: raw || (body ? JSON.stringify(body) : undefined),
    });
    const said = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(said.error.message), { refused: answer.status < 500 });
    return said;
  };

  const hash = async (file, shown) => {
    const sum = new Sha256();
    for (let at = 0; at < file.size; at += PIECE) {
      sum.add(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
      shown.share(at / file.size);
      shown.tell(`Reading, ${Math.round((100 * at) / file.size)} %`);
      await nap();
    }
    return sum.end();
  };

  const send = async (file) => {
    const shown = line(file.name);
    const about = { image_set: field("upload-set"), label: field("upload-label").trim(), lot: field("upload-lot").trim(), part_pattern: field("upload-part").trim() };
    try {
      const sha256 = await hash(file, shown);
      let upload = await ask("POST", "/uploads", { ...about, file_name: file.name, size_bytes: file.size, sha256 });
      let offset = upload.offset;
      for (let failed = 0; offset < file.size;) {
        shown.share(offset / file.size);
        shown.tell(`Sending, ${Math.round((100 * offset) / file.size)} %${failed ? ", the connection broke, trying again" : ""}`);
        try {
          const piece = file.slice(offset, offset + PIECE);
          offset = (await ask("PUT", `/uploads/${upload.id}?offset=${offset}`, null, piece)).offset;
          failed = 0;
        } catch (error) {
          if (error.refused || ++failed > RETRIES) throw error;
          await wait(Math.min(15000, 500 * 2 ** failed));
          offset = (await ask("GET", `/uploads/${upload.id}`).catch(() => ({ offset }))).offset;
        }
      }
      shown.share(1);
      shown.tell("Checking …");
      upload = await ask("POST", `/uploads/${upload.id}/finish`);
      const { added, already, refused_count: left, refused, error } = upload.outcome;
      if (error) return shown.tell(error, "is-error");
      const why = left ? `, ${left} left out: ${refused.slice(0, 3).map(([name, reason]) => `${name}: ${reason}`).join("; ")}` : "";
      shown.tell(`${added} new, ${already} already there${why}`, left ? "is-warn" : "is-done");
    } catch (error) {
      shown.tell(`${error.message} Choose the file again to go on.`, "is-error");
    }
  };

  let queue = Promise.resolve();
  const take = (files) => { for (const file of files) queue = queue.then(() => send(file)); };

  const ready = () => {
    const box = document.getElementById("upload-drop");
    if (!box) return setTimeout(ready, 100);
    const input = document.getElementById("upload-files");
    input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
    box.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); input.click(); } });
    for (const kind of ["dragover", "dragenter"]) box.addEventListener(kind, (event) => { event.preventDefault(); box.classList.add("is-over"); });
    for (const kind of ["dragleave", "drop"]) box.addEventListener(kind, () => box.classList.remove("is-over"));
    box.addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
    box.dataset.ready = "true";
  };
  ready();
})();

// Reads result records in the browser, checks each one, ranks them within one dataset, split and question.
// Texts of other people go into the page as text only, never as markup.

const VARIABLES = window.huggingface?.variables ?? {};
const HUB = VARIABLES.HF_ENDPOINT || "https://huggingface.co";
const SYSTEMS = ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"];
const TEXTS = {
  out_of_library: "Unseen crystals: crystals that no training split holds. Can the model read a new structure?",
  in_library: "Known crystals: seen in training, under conditions that were not.",
  hidden: "Hidden test: labels only the host has; answers are scored with a key the submitter never sees.",
  measured: "Measured patterns: diffractograms from real instruments, not from the simulator.",
  measured_with_library: "Measured patterns, answered with a library of known crystals.",
};
const ORDER = Object.keys(TEXTS);
// column of a record -> head; shown in per cent unless lower is better
const SCORES = {
  space_group: {
    accuracy: "accuracy", macro_f1: "macro-F1", top_5_accuracy: "top 5", extinction_symbol_accuracy: "extinction",
    crystal_system_accuracy: "system", subgroup_within_1: "≤ 1 step", ece: "ECE",
  },
  crystal_system: {accuracy: "accuracy", macro_f1: "macro-F1", top_2_accuracy: "top 2", ece: "ECE"},
};
const DETAILS = {
  ...SCORES.space_group, top_2_accuracy: "top 2", top_3_accuracy: "top 3",
  ...Object.fromEntries(SYSTEMS.map((name) => [`accuracy_in_${name}`, name])),
  head_accuracy: "frequent classes", tail_accuracy: "rare classes", brier: "Brier", nll: "log loss",
};
const LOWER_IS_BETTER = new Set(["ece", "brier", "nll"]);
const PART = "part of the split:";
const ID = /^[\w.-]{1,96}(\/[\w.-]{1,96})?$/;
const HIDDEN_TEXT = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/u;

// -- records ---------------------------------------------------------------------------------------------------------

// The flat object as [key, raw text of the value]: the digest is over the numbers as they were written.
function entries(line) {
  const token = /\s*("(?:[^"\\]|\\.)*")\s*:\s*("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|null)\s*([,}])/y;
  const found = [];
  token.lastIndex = line.indexOf("{") + 1;
  for (let match = token.exec(line); match; match = token.exec(line)) found.push([match[1], match[2]]);
  return found;
}

async function digest(line) {
  const rest = entries(line).filter(([key]) => key !== '"digest"').sort(([a], [b]) => (a < b ? -1 : 1));
  const text = `{${rest.map(([key, value]) => `${key}:${value}`).join(",")}}`;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// Why a line is no record that can be shown; null if it is one. `owner` is the namespace the record came from.
async function fault(line, record, owner) {
  if (record === null || typeof record !== "object") return "no object";
  for (const name of ["model_id", "dataset_id"]) {
    if (typeof record[name] !== "string" || !ID.test(record[name])) return `${name} is no name`;
  }
  for (const name of ["config", "split"]) {
    if (typeof record[name] !== "string" || !/^[\w.]{1,64}$/.test(record[name])) return `${name} is no name`;
  }
  if (!(record.target in SCORES)) return "target is neither space_group nor crystal_system";
  if (!Number.isSafeInteger(record.n) || record.n < 1) return "n is no number of patterns";
  for (const [name, value] of Object.entries(record)) {
    if (typeof value === "string" && (value.length > 2000 || HIDDEN_TEXT.test(value))) return `${name}: characters that are not shown`;
    if (typeof value === "number" && !Number.isFinite(value)) return `${name} is not finite`;
    const share = /accuracy|macro_|^ece$|coverage|within/.test(name);
    if (share && value !== null && !(typeof value === "number" && value >= 0 && value <= 1)) return `${name} is no share of 1`;
  }
  if (typeof record.accuracy !== "number") return "accuracy is missing";
  const day = Date.parse(record.date);
  if (!(day <= Date.now() + 864e5)) return "the date lies in the future or cannot be read";
  const names = [record.model_id, record.dataset_id].map((name) => name.split("/"));
  if (owner !== null && !names.some(([space, rest]) => rest !== undefined && space === owner)) {
    return "neither model nor dataset belongs to the owner of the repository";
  }
  if ((await digest(line)) !== record.digest) return "edited after it was made (the digest does not match)";
  return null;
}

async function readLines(text, where, owner, records, skipped) {
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    let record = null;
    let reason = "not JSON";
    try {
      record = JSON.parse(line);
      reason = await fault(line, record, owner);
    } catch (error) {
      reason = `not JSON (${error.message})`;
    }
    if (reason) skipped.push(`${where}: ${reason}`);
    else records.push(record);
  }
}

// Every result file of a dataset on the Hub.
async function fromHub(repository, records, skipped) {
  const owner = repository.split("/")[0];
  let page = `${HUB}/api/datasets/${repository}/tree/main/results?recursive=true`;
  const paths = [];
  while (page) {
    const answer = await fetch(page);
    if (!answer.ok) throw new Error(`${repository}: the Hub answered ${answer.status}`);
    paths.push(...(await answer.json()).map((row) => row.path).filter((path) => path.endsWith(".json")));
    page = (answer.headers.get("Link") || "").match(/<([^>]+)>;\s*rel="next"/)?.[1];
  }
  const queue = [...paths];
  const worker = async () => {
    for (let path = queue.shift(); path; path = queue.shift()) {
      const address = `${HUB}/datasets/${repository}/resolve/main/${path.split("/").map(encodeURIComponent).join("/")}`;
      const answer = await fetch(address);
      if (answer.ok) await readLines(await answer.text(), path, owner, records, skipped);
      else skipped.push(`${path}: the Hub answered ${answer.status}`);
    }
  };
  await Promise.all(Array.from({length: 8}, worker));
}

// Records lie beside the page (`simxrd leaderboard --serve`), or in the datasets that the Space's variable names.
async function load() {
  const records = [];
  const skipped = [];
  const sources = (VARIABLES.SIMXRD_RESULTS || "").split(",").map((name) => name.trim()).filter(Boolean);
  if (!sources.length) {
    const answer = await fetch("records.jsonl");
    if (!answer.ok) throw new Error("no results named: set the Space's variable SIMXRD_RESULTS to NAMESPACE/NAME");
    await readLines(await answer.text(), "records.jsonl", null, records, skipped);
  }
  for (const source of sources) {
    if (!/^[\w.-]+\/[\w.-]+$/.test(source)) throw new Error(`SIMXRD_RESULTS: ${source} is not NAMESPACE/NAME`);
    await fromHub(source, records, skipped);
  }
  const latest = new Map();
  for (const record of records) {
    const key = ["model_id", "dataset_id", "config", "split", "target"].map((name) => record[name]).join("\n");
    if (!latest.has(key) || latest.get(key).date <= record.date) latest.set(key, record);
  }
  return {records: [...latest.values()], skipped};
}

// -- page ------------------------------------------------------------------------------------------------------------

const at = (id) => document.getElementById(id);
const state = {records: [], config: null, sort: null, up: false};

function make(tag, text, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  return element;
}

function shown(value, name) {
  if (value === null || value === undefined) return "–";
  return LOWER_IS_BETTER.has(name) ? value.toFixed(3) : (100 * value).toFixed(2);
}

function link(name, commit) {
  const cell = make("td", undefined, {className: "name"});
  if (!name.includes("/")) {
    cell.append(name);
    return cell;
  }
  cell.append(make("a", name, {href: `${HUB}/${name}`, target: "_blank", rel: "noopener"}));
  if (/^[0-9a-f]{7,64}$/.test(commit || "")) {
    const small = make("small");
    small.append(make("a", commit.slice(0, 7), {href: `${HUB}/${name}/commit/${commit}`, target: "_blank", rel: "noopener"}));
    cell.append(small);
  }
  return cell;
}

function options(select, names, chosen) {
  select.replaceChildren(...names.map(([value, text]) => make("option", text, {value, selected: value === chosen})));
}

function configsOf(dataset, target) {
  const found = new Map();
  for (const row of state.records) {
    if (row.dataset_id !== dataset || row.target !== target) continue;
    const key = row.split === "test" ? row.config : `${row.config} · ${row.split}`;
    found.set(key, (found.get(key) || 0) + 1);
  }
  const place = (name) => (ORDER.indexOf(name) + ORDER.length + 1) % (ORDER.length + 1);
  return [...found].sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
}

function draw() {
  const dataset = at("dataset").value;
  const target = at("target").value;
  const columns = SCORES[target];
  const configs = configsOf(dataset, target);
  if (!configs.some(([name]) => name === state.config)) state.config = configs[0]?.[0] ?? null;
  at("configs").replaceChildren(...configs.map(([name, count]) => {
    const button = make("button", `${name.replaceAll("_", " ")} (${count})`, {type: "button"});
    button.setAttribute("aria-pressed", String(name === state.config));
    button.addEventListener("click", () => { state.config = name; draw(); });
    return button;
  }));
  at("meaning").textContent = TEXTS[state.config] || "";
  if (!(at("score").value in columns)) options(at("score"), Object.entries(columns), "accuracy");
  const main = at("score").value;
  if (state.sort !== "model" && !(state.sort in columns)) state.sort = main;

  const all = state.records.filter((row) => row.dataset_id === dataset && row.target === target
    && (row.split === "test" ? row.config : `${row.config} · ${row.split}`) === state.config);
  const whole = all.filter((row) => !(row.notes || "").startsWith(PART));
  const sign = (name) => (LOWER_IS_BETTER.has(name) ? 1 : -1);
  const blank = (value) => value === null || value === undefined;
  const by = (name) => (a, b) => blank(a[name]) - blank(b[name]) || sign(name) * ((a[name] ?? 0) - (b[name] ?? 0))
    || (a.model_id < b.model_id ? -1 : 1);
  const ranks = new Map([...whole].sort(by(main)).filter((row) => !blank(row[main])).map((row, index) => [row, index + 1]));
  const best = Object.fromEntries(Object.keys(columns).map((name) => [name, [...whole].sort(by(name))[0]?.[name]]));
  const words = at("filter").value.trim().toLowerCase();
  const rows = all.filter((row) => row.model_id.toLowerCase().includes(words));
  rows.sort(state.sort === "model" ? (a, b) => (a.model_id < b.model_id ? -1 : 1) : by(state.sort));
  if (state.up) rows.reverse();

  const head = make("tr");
  head.append(make("th", "#"));
  for (const [name, text] of [["model", "model"], ...Object.entries(columns)]) {
    const cell = make("th", undefined, {className: name === "model" ? "name" : name === main ? "main" : "other"});
    const button = make("button", text, {type: "button"});
    button.addEventListener("click", () => {
      state.up = state.sort === name ? !state.up : false;
      state.sort = name;
      draw();
    });
    if (state.sort === name) {
      const rising = (name === "model" || LOWER_IS_BETTER.has(name)) !== state.up;
      cell.setAttribute("aria-sort", rising ? "ascending" : "descending");
    }
    cell.append(button);
    head.append(cell);
  }
  head.append(make("th", "patterns", {className: "other"}));
  at("board").tHead.replaceChildren(head);
  at("board").tBodies[0].replaceChildren(...rows.flatMap((row) => {
    const line = make("tr", undefined, {className: "row"});
    line.append(make("td", String(ranks.get(row) ?? "–")), link(row.model_id, row.model_revision));
    for (const name of Object.keys(columns)) {
      const value = row[name];
      const classes = [name === main ? "main" : "other"];
      if (!blank(value) && value === best[name]) classes.push("best");
      line.append(make("td", shown(value, name), {className: classes.join(" ")}));
    }
    line.append(make("td", row.n.toLocaleString("en"), {className: "other"}));
    const more = make("tr", undefined, {className: "more", hidden: true});
    const cell = make("td", undefined, {colSpan: Object.keys(columns).length + 3});
    const date = make("p", `${row.n.toLocaleString("en")} patterns, scored ${row.date.slice(0, 10)} by ${row.made_by}`, {className: "note"});
    cell.append(date);
    if (row.notes) cell.append(make("p", row.notes, {className: "note"}));
    const list = make("dl");
    for (const [name, text] of Object.entries(DETAILS)) {
      if (blank(row[name])) continue;
      const pair = make("div");
      pair.append(make("dt", text), make("dd", shown(row[name], name)));
      list.append(pair);
    }
    cell.append(list);
    more.append(cell);
    line.addEventListener("click", (event) => { if (event.target.tagName !== "A") more.hidden = !more.hidden; });
    return [line, more];
  }));
  at("empty").hidden = rows.length > 0;
}

try {
  const {records, skipped} = await load();
  state.records = records;
  const models = new Set(records.map((row) => row.model_id)).size;
  at("count").textContent = `${models} models, ${records.length} results`;
  const sizes = new Map();
  for (const row of records) sizes.set(row.dataset_id, (sizes.get(row.dataset_id) || 0) + 1);
  options(at("dataset"), [...sizes].sort((a, b) => b[1] - a[1]).map(([name]) => [name, name]));
  options(at("score"), Object.entries(SCORES.space_group), "accuracy");
  if (!records.some((row) => row.target === "space_group")) at("target").value = "crystal_system";
  for (const id of ["dataset", "target"]) at(id).addEventListener("change", draw);
  at("filter").addEventListener("input", draw);
  at("score").addEventListener("change", () => { state.sort = at("score").value; state.up = false; draw(); });
  if (skipped.length) {
    at("skipped").hidden = false;
    at("skipped").querySelector("summary").textContent = skipped.length === 1 ? "1 record is not shown" : `${skipped.length} records are not shown`;
    at("skipped").querySelector("ul").replaceChildren(...skipped.slice(0, 50).map((reason) => make("li", reason)));
  }
  draw();
} catch (error) {
  at("count").textContent = error.message;
  at("empty").hidden = false;
}
document.body.dataset.ready = "yes";

"use strict";
// Sorts, filters and compares the rows of the tables, chooses columns, opens a row's details in a drawer, and keeps what
// was chosen in the address. Without it the page is whole: tables in the order of the ranks, details row by row below.

const byText = new Intl.Collator(undefined, { numeric: true });
const sections = [...document.querySelectorAll("section[data-board]")];
const narrow = matchMedia("(max-width: 46rem)");
const onNarrow = ["vs_dense", "compute_multiplier", "routing_worth", "gain_recovered", "active_params", "specialization"];

const rowsOf = (section) => [...section.querySelectorAll("tr[data-row]")];
const headsOf = (section) => [...section.querySelectorAll("table.board > thead th")];
const controls = (section) => section.querySelector("form.controls").elements;
const nameOf = (row) => row.querySelector("th a").textContent;
const cellOf = (row, key) => row.querySelector(`:scope > [data-col="${key}"]`);

// What was chosen, in the address: #tab=1&sort=latency.low&find=topk&kind=ranked&task=task-0&columns=a,b&row-0-2

function readAddress() {
  const found = { row: "" };
  for (const part of location.hash.slice(1).split("&")) {
    const at = part.indexOf("=");
    if (at < 0) found.row = part;
    else found[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1));
  }
  return found;
}

const asked = readAddress();

function writeAddress() {
  const named = ["tab", "sort", "find", "kind", "task", "columns"].filter((name) => asked[name]);
  const parts = named.map((name) => `${name}=${encodeURIComponent(asked[name])}`);
  if (asked.row) parts.push(asked.row);
  const hash = parts.length ? `#${parts.join("&")}` : location.pathname + location.search;
  history.replaceState(null, "", hash);
}

function cellValue(row, key) {
  if (key === "variant") return nameOf(row);
  const cell = cellOf(row, key);
  return cell && cell.dataset.sort ? Number(cell.dataset.sort) : null;
}

function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last either way
  return direction * (typeof a === "string" ? byText.compare(a, b) : a - b);
}

function sortBy(section, key, direction) {
  for (const body of section.querySelectorAll("table.board > tbody")) {
    const rows = [...body.querySelectorAll("tr[data-row]")];
    const keyed = rows.map((row) => [key === "rank" ? null : cellValue(row, key), Number(row.dataset.row), row]);
    keyed.sort((a, b) => (key === "rank" ? 0 : compare(a[0], b[0], direction)) || a[1] - b[1]);
    body.append(...keyed.map((each) => each[2]));
  }
  for (const head of headsOf(section)) {
    if (head.dataset.col === key && key !== "rank") {
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    } else head.removeAttribute("aria-sort");
  }
  controls(section).sort.value = key === "rank" ? "" : key;
  asked.sort = key === "rank" ? "" : `${key}.${direction > 0 ? "low" : "high"}`;
  showFirst(section);
  writeAddress();
}

// Of very many rows the first are laid out, until a reader asks for all: sorting then moves no more than these.
const MOST = 100;

function showFirst(section) {
  const { count, all } = controls(section);
  const rows = rowsOf(section);
  const found = rows.filter((row) => !row.hidden);
  const most = rows.length > 1.5 * MOST && !section.dataset.all ? MOST : rows.length;
  for (const row of rows) row.classList.add("beyond");
  for (const row of found.slice(0, most)) row.classList.remove("beyond");
  const shown = Math.min(most, found.length);
  count.value = `${shown} of ${rows.length} rows`;
  all.hidden = shown === found.length;
  all.textContent = `Show all ${found.length}`;
  for (const group of section.querySelectorAll("tr.group")) {
    group.hidden = !group.parentElement.querySelector("tr[data-row]:not([hidden]):not(.beyond)");
  }
}

const bestFirst = (head) => (head.dataset.best === "high" ? -1 : 1);

function makeSortable(section) {
  const choice = controls(section).sort;
  for (const head of headsOf(section)) {
    const title = head.textContent;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: title });
    head.replaceChildren(button);
    if (head.dataset.col !== "rank") choice.append(new Option(title, head.dataset.col));
    button.addEventListener("click", () => {
      const sorted = head.getAttribute("aria-sort");
      sortBy(section, head.dataset.col, sorted ? (sorted === "ascending" ? -1 : 1) : bestFirst(head));
    });
  }
  choice.addEventListener("change", () => {
    const head = headsOf(section).find((each) => each.dataset.col === (choice.value || "rank"));
    sortBy(section, head.dataset.col, bestFirst(head));
  });
}

function makeFilterable(section) {
  const form = section.querySelector("form.controls");
  const rows = rowsOf(section);
  const noted = (row) => (row.querySelector(".note") || { textContent: "" }).textContent;
  const searched = new Map(rows.map((row) => [row, `${nameOf(row)} ${noted(row)}`.toLowerCase()]));
  function apply() {
    const text = form.elements.filter.value.trim().toLowerCase();
    const kind = form.elements.rows.value;
    for (const row of rows) {
      row.hidden = !searched.get(row).includes(text) || (kind !== "" && !(kind in row.dataset));
    }
    showFirst(section);
    [asked.find, asked.kind] = [form.elements.filter.value.trim(), kind];
  }
  form.addEventListener("input", (event) => {
    if (event.target.name === "filter" || event.target.name === "rows") apply(), writeAddress();
  });
  form.elements.all.addEventListener("click", () => {
    section.dataset.all = "yes";
    showFirst(section);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  [form.elements.filter.value, form.elements.rows.value] = [asked.find || "", asked.kind || ""];
  form.hidden = false;
  apply();
}

function makeColumns(section) {
  const table = section.querySelector("table.board");
  const boxes = [...section.querySelectorAll('input[name="column"]')];
  const show = (box) => table.classList.toggle(`hide-${box.value}`, !box.checked);
  const wanted = asked.columns ? asked.columns.split(",") : null;
  for (const box of boxes) {
    if (wanted) box.checked = wanted.includes(box.value);
    else if (narrow.matches && onNarrow.includes(box.value)) box.checked = false;
    show(box);
    box.addEventListener("change", () => {
      show(box);
      asked.columns = boxes.filter((each) => each.checked).map((each) => each.value).join(",");
      writeAddress();
    });
  }
}

function showTask(section, task, sorted) {
  const table = section.querySelector("table.board");
  for (const tab of section.querySelectorAll(".tasks a")) {
    tab.toggleAttribute("aria-current", false);
    if (tab.dataset.task === task) tab.setAttribute("aria-current", "true");
    if (tab.dataset.task) table.classList.toggle(`hide-${tab.dataset.task}`, tab.dataset.task !== task);
  }
  for (const box of section.querySelectorAll("input[data-mean]")) {
    table.classList.toggle(`hide-${box.value}`, task !== "" || !box.checked);
  }
  const pictures = [...section.querySelectorAll(".picture")];
  const drawn = pictures.some((each) => (each.dataset.task || "") === task);
  for (const each of pictures) each.classList.toggle("shown", (each.dataset.task || "") === (drawn ? task : ""));
  asked.task = task;
  if (sorted) {
    const key = task || "rank";
    sortBy(section, key, bestFirst(headsOf(section).find((each) => each.dataset.col === key)));
  }
}

function makeTasks() {
  const tabs = [...document.querySelectorAll(".tasks a")];
  if (!tabs.length) return;
  for (const nav of document.querySelectorAll(".tasks")) nav.hidden = false;
  const show = (task, sorted) => sections.forEach((section) => showTask(section, task, sorted));
  for (const tab of tabs) {
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      show(tab.dataset.task, true);
    });
  }
  const task = tabs.some((each) => each.dataset.task === asked.task) ? asked.task : "";
  show(task, task !== "" && !asked.sort);
}

// Downloads: what the table holds in full precision, rows in the order and choice that are shown.

function tabled(section) {
  const heads = headsOf(section);
  return rowsOf(section)
    .filter((row) => !row.hidden)
    .map((row) => {
      const line = { suite: section.dataset.suite, budget: Number(section.dataset.budget), variant: nameOf(row) };
      line.rank = (cellOf(row, "rank").title.match(/^rank (\S+)$/) || ["", null])[1];
      for (const head of heads.slice(2)) {
        const key = head.dataset.col.startsWith("task-") ? head.textContent : head.dataset.col;
        const data = (cellOf(row, head.dataset.col) || { dataset: {} }).dataset;
        line[key] = data.sort ? Number(data.sort) : null;
        for (const end of ["low", "high"]) if (data[end]) line[`${key}_${end}`] = Number(data[end]);
      }
      return line;
    });
}

function asCsv(lines) {
  const names = [...new Set(lines.flatMap((line) => Object.keys(line)))];
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    const safe = typeof value === "string" && /^[=+\-@]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [names, ...lines.map((line) => names.map((name) => line[name]))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function makeDownloads(section) {
  const { csv, json, link, count } = controls(section);
  const name = `${section.dataset.suite}-${section.dataset.budget}`;
  csv.addEventListener("click", () => save(`${name}.csv`, "text/csv", asCsv(tabled(section))));
  json.addEventListener("click", () => save(`${name}.json`, "application/json", JSON.stringify(tabled(section), null, 1) + "\n"));
  link.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      count.value = "link copied";
    } catch {
      count.value = "copy the address of this page";
    }
  });
}

function makeComparable(section) {
  const button = controls(section).compare;
  const picked = () => rowsOf(section).filter((row) => row.querySelector(".pick").checked);
  for (const row of rowsOf(section)) {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", className: "pick" });
    box.setAttribute("aria-label", `compare ${nameOf(row)}`);
    row.children[1].prepend(box);
  }
  section.querySelector("table.board").addEventListener("change", (event) => {
    if (!event.target.classList.contains("pick")) return;
    button.disabled = picked().length < 2;
    button.textContent = picked().length ? `Compare ${picked().length}` : "Compare";
  });
  button.addEventListener("click", () => {
    const rows = picked();
    const table = Object.assign(document.createElement("table"), { className: "plain side" });
    const line = (title, cells, kind) => {
      const row = table.insertRow();
      const head = Object.assign(document.createElement("th"), { textContent: title, scope: "row" });
      row.append(head);
      for (const each of cells) {
        const cell = document.createElement(kind);
        cell.textContent = each ? each.innerText.trim() || each.textContent.trim() : "-";
        row.append(cell);
      }
    };
    line("row", rows.map((row) => row.querySelector("th a")), "th");
    for (const head of headsOf(section)) {
      if (head.dataset.col === "variant") continue;
      line(head.textContent, rows.map((row) => cellOf(row, head.dataset.col)), "td");
    }
    openDrawer(document.createTextNode("Side by side"), table, "");
  });
}

function showInDrawings(section) {
  const drawn = new Map();
  const add = (row, element) => drawn.set(row, [...(drawn.get(row) || []), element]);
  for (const line of document.querySelectorAll('svg.figure g[id*="-curve-"]')) {
    const [, chart, row] = line.id.match(/^(.*)-curve-\d+-\d+-(\d+)$/);
    if (chart === "ladder" ? section.dataset.board === "0" : section.contains(line)) add(row, line);
  }
  for (const link of section.querySelectorAll("svg.figure a[data-row]")) add(link.dataset.row, link);
  const light = (row, on) => (drawn.get(row.dataset.row) || []).forEach((each) => each.classList.toggle("lit", on));
  for (const row of rowsOf(section)) {
    for (const name of ["mouseenter", "focusin"]) row.addEventListener(name, () => light(row, true));
    for (const name of ["mouseleave", "focusout"]) row.addEventListener(name, () => light(row, false));
  }
}

function openDrawer(title, body, anchor) {
  const drawer = document.getElementById("drawer");
  drawer.querySelector("h2").replaceChildren(title);
  drawer.querySelector(".drawer-body").replaceChildren(body);
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  asked.row = anchor;
  writeAddress();
}

function openRow(details) {
  const title = document.createDocumentFragment();
  title.append(...details.querySelector("summary").cloneNode(true).childNodes);
  openDrawer(title, details.querySelector(".inside").cloneNode(true), details.id);
}

function makeDrawer() {
  const drawer = document.getElementById("drawer");
  const named = asked.row && document.querySelector(`.by-row details[id="${CSS.escape(asked.row)}"]`);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#row-"]');
    const details = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!details) return;
    event.preventDefault();
    openRow(details);
  });
  drawer.querySelector(".close").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
  drawer.addEventListener("close", () => ((asked.row = ""), writeAddress()));
  if (named) openRow(named);
}

function makeTabs() {
  const tabs = [...document.querySelectorAll(".budgets a")];
  if (!tabs.length) return;
  const ladder = document.getElementById("ladder");
  function show(tab) {
    for (const each of tabs) each.toggleAttribute("aria-current", false);
    tabs.find((each) => each.dataset.tab === tab).setAttribute("aria-current", "true");
    for (const section of sections) section.classList.toggle("off", section.dataset.board !== tab);
    if (ladder) ladder.classList.toggle("off", tab !== "ladder");
    asked.tab = tab === "0" ? "" : tab;
    writeAddress();
  }
  for (const tab of tabs) {
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      show(tab.dataset.tab);
    });
  }
  const row = asked.row.match(/^row-(\d+)-/);
  const first = asked.tab || (row ? row[1] : "0");
  show(tabs.some((each) => each.dataset.tab === first) ? first : "0");
}

function linkToThisServer() {
  // Served by `moebench ui`, the page's MLflow is the one beside it, on whatever port; elsewhere there is none to link to.
  const served = location.pathname.match(/^(.*\/moebench)\/board\//);
  const here = served && location.protocol.startsWith("http");
  if (!here) return;
  for (const item of document.querySelectorAll(".seeds li")) {
    const identity = item.textContent;
    item.replaceChildren(Object.assign(document.createElement("a"), { href: `${served[1]}/run/${identity}`, textContent: identity }));
  }
}

function sortAsAsked(section) {
  const [, key, end] = (asked.sort || "").match(/^(.+)\.(low|high)$/) || [];
  if (key && headsOf(section).some((each) => each.dataset.col === key)) sortBy(section, key, end === "low" ? 1 : -1);
}

document.documentElement.classList.add("scripted");
linkToThisServer();
const sorted = asked.sort;
for (const section of sections) {
  makeSortable(section);
  makeFilterable(section);
  makeColumns(section);
  makeDownloads(section);
  makeComparable(section);
  showInDrawings(section);
  asked.sort = sorted || asked.sort;
  sortAsAsked(section);
}
makeTasks();
makeTabs();
makeDrawer();

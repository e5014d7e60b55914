"use strict";
// Sorts and filters the tables, opens a row's details in a drawer, and shows a row in the drawings when it is pointed at.
// Without it the page is whole: tables in the order of the ranks, and the details row by row below them.

const byText = new Intl.Collator(undefined, { numeric: true });

function rowsOf(section) {
  return [...section.querySelectorAll("tr[data-row]")];
}

function cellValue(row, column) {
  const cell = row.children[column];
  if (column === 1) return cell.querySelector("a").textContent;
  return cell && cell.dataset.sort ? Number(cell.dataset.sort) : null;
}

function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last either way
  return direction * (typeof a === "string" ? byText.compare(a, b) : a - b);
}

function sortBy(section, column, direction) {
  for (const body of section.querySelectorAll("table.board > tbody")) {
    const rows = [...body.querySelectorAll("tr[data-row]")];
    const place = (row) => Number(row.dataset.row);
    rows.sort((a, b) =>
      column === 0 ? place(a) - place(b) : compare(cellValue(a, column), cellValue(b, column), direction) || place(a) - place(b),
    );
    body.append(...rows);
  }
  section.querySelectorAll("table.board > thead th").forEach((head, index) => {
    if (index === column && column > 0) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
  section.querySelector("form.controls").elements.sort.value = column ? String(column) : "";
}

function bestFirst(head) {
  return head.dataset.best === "high" ? -1 : 1;
}

function makeSortable(section) {
  const choice = section.querySelector("form.controls").elements.sort;
  const heads = [...section.querySelectorAll("table.board > thead th")];
  heads.forEach((head, column) => {
    const title = head.textContent;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: title });
    head.replaceChildren(button);
    if (column) choice.append(new Option(title, column));
    button.addEventListener("click", () => {
      const sorted = head.getAttribute("aria-sort");
      sortBy(section, column, sorted ? (sorted === "ascending" ? -1 : 1) : bestFirst(head));
    });
  });
  // Where the heads are out of sight, the list above the table sorts, and the keyboard passes them by.
  const narrow = matchMedia("(max-width: 46rem)");
  const follow = () => heads.forEach((head) => (head.firstChild.tabIndex = narrow.matches ? -1 : 0));
  narrow.addEventListener("change", follow);
  follow();
  choice.addEventListener("change", () => {
    const column = Number(choice.value || 0);
    sortBy(section, column, bestFirst(heads[column]));
  });
}

function makeFilterable(section) {
  const form = section.querySelector("form.controls");
  const rows = rowsOf(section);
  function apply() {
    const text = form.elements.filter.value.trim().toLowerCase();
    const kind = form.elements.rows.value;
    let shown = 0;
    for (const row of rows) {
      const named = row.children[1].textContent.toLowerCase().includes(text);
      row.hidden = !named || (kind !== "" && !(kind in row.dataset));
      shown += !row.hidden;
    }
    for (const group of section.querySelectorAll("tr.group")) {
      group.hidden = !group.parentElement.querySelector("tr[data-row]:not([hidden])");
    }
    form.elements.count.value = `${shown} of ${rows.length} rows`;
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
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

function openDrawer(details) {
  const drawer = document.getElementById("drawer");
  drawer.querySelector("h2").replaceChildren(...details.querySelector("summary").cloneNode(true).childNodes);
  drawer.querySelector(".drawer-body").replaceChildren(details.querySelector(".inside").cloneNode(true));
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  history.replaceState(null, "", `#${details.id}`);
}

function makeDrawer() {
  const drawer = document.getElementById("drawer");
  const named = () => document.querySelector(`details[id="${CSS.escape(location.hash.slice(1))}"]`);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#row-"]');
    const details = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!details) return;
    event.preventDefault();
    openDrawer(details);
  });
  drawer.querySelector(".close").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
  drawer.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  if (named()) openDrawer(named());
}

function linkToThisServer() {
  // Served by `moebench ui`, the page's MLflow is the one beside it, on whatever port.
  const served = location.pathname.match(/^(.*\/moebench)\/board\//);
  if (!served || !location.protocol.startsWith("http")) return;
  for (const link of document.querySelectorAll(".seeds a")) {
    link.href = link.href.replace(/^.*\/moebench\/run\//, `${location.origin}${served[1]}/run/`);
  }
}

document.documentElement.classList.add("scripted");
linkToThisServer();
for (const section of document.querySelectorAll("section[data-board]")) {
  makeSortable(section);
  makeFilterable(section);
  showInDrawings(section);
}
makeDrawer();

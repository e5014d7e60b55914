"use strict";
// Finds rows of the tables by their text.
for (const form of document.querySelectorAll("form[role=search]")) {
  const rows = [...document.querySelectorAll("tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
  const { find, count } = form.elements;
  const apply = () => {
    const words = find.value.trim().toLowerCase().split(/\s+/);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.value = `${shown} of ${rows.length}`;
    history.replaceState(null, "", find.value ? `#${encodeURIComponent(find.value)}` : location.pathname);
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  find.value = decodeURIComponent(location.hash.slice(1));
  form.hidden = false;
  apply();
}

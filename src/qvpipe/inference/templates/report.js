"use strict";
const table = document.querySelector(".overview");
const rows = [...table.tBodies[0].rows];
const text = document.getElementById("text");
const chosenClass = document.getElementById("class");
const outcome = document.getElementById("outcome");

function filter() {
  const wanted = text.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const fits =
      row.cells[0].textContent.toLowerCase().includes(wanted) &&
      (!chosenClass.value || row.dataset.classes.includes(` ${chosenClass.value} `)) &&
      (!outcome.value || row.dataset.outcome === outcome.value);
    row.hidden = !fits;
    const article = document.getElementById(row.dataset.video);
    if (article) article.hidden = !fits;
    shown += fits;
  }
  const output = document.getElementById("shown");
  output.value = `${shown} of ${rows.length} ${output.dataset.items}`;
}

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
}

function sort(header) {
  const ascending = header.ariaSort !== "ascending";
  for (const other of header.parentNode.cells) other.ariaSort = "none";
  header.ariaSort = ascending ? "ascending" : "descending";
  const column = header.cellIndex;
  rows.sort((a, b) => compare(value(a, column), value(b, column)) * (ascending ? 1 : -1));
  table.tBodies[0].append(...rows);
}

for (const header of table.tHead.rows[0].cells) {
  header.querySelector("button").addEventListener("click", () => sort(header));
}
for (const field of [text, chosenClass, outcome]) field.addEventListener("input", filter);
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
filter();

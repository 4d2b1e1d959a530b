"use strict";
// Click a heading to sort the rows below the references. Without JavaScript the rows stay ordered by rank.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.querySelector("tbody.models");
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent.trim();
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? "";
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = Number.isNaN(Number(a)) ? a.localeCompare(b) : Number(a) - Number(b);
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
}

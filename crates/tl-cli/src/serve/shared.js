// What both pages do with an answer.
"use strict";
const at = id => document.getElementById(id);
const make = (name, text, kind) => {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};

function line(name, share, figure) {
  const item = make("li"), row = make("div", undefined, "row");
  row.append(make("span", name), make("span", figure));
  item.append(row);
  if (share !== null) {
    const bar = make("div", undefined, "bar"), part = make("i");
    bar.setAttribute("aria-hidden", "true");
    part.style.width = `${Math.max(0.5, share * 100)}%`;
    bar.append(part);
    item.append(bar);
  }
  return item;
}
function lines(said) {
  const percent = p => `${(p * 100).toFixed(1)} %`;
  const list = make("ol");
  if (said.error) return make("p", said.error, "bad");
  if (said.values) for (const v of said.values) list.append(line(v.name, null, String(v.value)));
  const rows = said.top ? said.top.map(t => [t.class, t.probability])
    : (said.all || []).map(t => [t.label, t.probability]).sort((a, b) => b[1] - a[1]).slice(0, 8);
  for (const [name, p] of rows) list.append(line(name, p, percent(p)));
  return list;
}

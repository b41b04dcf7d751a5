// As much of Go's text/template as an exported Modelfile uses.

const FUNCTIONS = {
  eq: (one, other) => one === other,
  ne: (one, other) => one !== other,
  and: (...all) => all.find((value) => !value) ?? all.at(-1),
  not: (value) => !value,
  len: (list) => list.length,
  slice: (list, from) => list.slice(from),
  index: (list, at) => list[at],
};

/** What a template makes of data. */
export function render(template, data) {
  const pieces = template.split(/\{\{(.*?)\}\}/s);
  const state = { pieces, at: 0 };
  return evaluate(block(state), { $: data, dot: data });
}

/** Texts and actions up to an `else` or `end`. */
function block(state) {
  const nodes = [];
  for (; state.at < state.pieces.length; state.at++) {
    const piece = state.pieces[state.at];
    if (state.at % 2 === 0) {
      nodes.push({ text: piece });
      continue;
    }
    const action = piece.trim();
    if (action === "end" || action.startsWith("else")) return nodes;
    const [, word, rest] = /^(if|range)?\s*(.*)$/s.exec(action);
    if (word === undefined) nodes.push({ value: expression(rest) });
    else nodes.push(word === "if" ? branch(state, rest) : loop(state, rest));
  }
  return nodes;
}

function branch(state, condition) {
  state.at++;
  const node = { condition: expression(condition), then: block(state), otherwise: [] };
  const action = state.pieces[state.at].trim();
  if (action === "end") return node;
  const chained = action.slice("else".length).trim();
  if (chained.startsWith("if ")) node.otherwise = [branch(state, chained.slice("if ".length))];
  else {
    state.at++;
    node.otherwise = block(state);
  }
  return node;
}

function loop(state, header) {
  const [, index, list] = /^(\$\w+), \$_ := (.*)$/s.exec(header);
  state.at++;
  return { index, list: expression(list), body: block(state) };
}

function expression(text) {
  const words = text.match(/"(?:[^"\\]|\\.)*"|\(|\)(?:\.\w+)?|[^\s()]+/g);
  const call = (first) => {
    const parts = [];
    while (words.length > 0 && !words[0].startsWith(")")) parts.push(words[0] === "(" ? (words.shift(), call(false)) : word(words.shift()));
    const field = first ? undefined : words.shift().slice(2);
    return { parts, field };
  };
  return call(true);
}

function word(text) {
  if (text.startsWith('"')) return { constant: JSON.parse(text) };
  if (/^\d+$/.test(text)) return { constant: Number(text) };
  if (FUNCTIONS[text]) return { call: FUNCTIONS[text] };
  const [variable, ...fields] = text.split(".");
  return { variable, fields };
}

function valueOf(node, scope) {
  if (node.parts) {
    const [first, ...others] = node.parts;
    const rest = others.map((part) => valueOf(part, scope));
    const value = first.call ? first.call(...rest) : valueOf(first, scope);
    return node.field ? value[node.field] : value;
  }
  if ("constant" in node) return node.constant;
  const start = node.variable === "" ? scope.dot : scope[node.variable];
  return node.fields.reduce((value, field) => value[field], start);
}

function evaluate(nodes, scope) {
  const one = (node) => {
    if (node.text !== undefined) return node.text;
    if (node.value) return String(valueOf(node.value, scope));
    if (node.condition) return evaluate(valueOf(node.condition, scope) ? node.then : node.otherwise, scope);
    const items = valueOf(node.list, scope);
    return items.map((item, index) => evaluate(node.body, { ...scope, dot: item, [node.index]: index })).join("");
  };
  return nodes.map(one).join("");
}

// Shows openapi.json. Everything is set as text: what the document says is never markup.
"use strict";

const make = (tag, text, ...children) => {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.className = classes.join(" ");
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

const nameOf = (schema) => (schema.$ref ? schema.$ref.split("/").pop() : "");

const kindOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema);
  if (schema.anyOf) return schema.anyOf.map(kindOf).join(" or ");
  if (schema.type === "array") return `list of ${kindOf(schema.items) || "anything"}`;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === "object" && schema.additionalProperties) return `object of ${kindOf(schema.additionalProperties) || "anything"}`;
  const bounds = [schema.minimum !== undefined ? `from ${schema.minimum}` : "", schema.maximum !== undefined ? `to ${schema.maximum}` : ""];
  return [schema.type || "anything", schema.format, ...bounds].filter(Boolean).join(" ");
};

const row = (name, kind, told, star) => {
  const first = make("td", "", make("code", name));
  if (star) first.append(make("span.star", " *"));
  return make("tr", "", first, make("td.kind", kind), make("td", told || ""));
};

const fields = (schema) => {
  const required = new Set(schema.required || []);
  return make("table", "", ...Object.entries(schema.properties || {}).map(([name, field]) =>
    row(name, kindOf(field), field.description || (field.default === undefined ? "" : `default ${JSON.stringify(field.default)}`), required.has(name))));
};

const operation = (path, method, about) => {
  const body = make("div");
  const part = (title, ...children) => body.append(make("h3", title), ...children);
  if (about.parameters.length) {
    part("Parameters", make("table", "", ...about.parameters.map((p) => row(p.name, kindOf(p.schema), p.description, p.required))));
  }
  if (about.requestBody) {
    const media = about.requestBody.content["application/json"];
    part("Body", make("p", kindOf(media.schema)));
    if (media.example) {
      body.append(make("pre", `curl -s localhost:${location.port || 80}${path} -X ${method.toUpperCase()} -H 'Content-Type: application/json' \\\n     -d '${JSON.stringify(media.example)}'`));
    }
  }
  part("Answers", make("table", "", ...Object.entries(about.responses).map(([status, answer]) =>
    row(status, Object.values(answer.content || {}).map((media) => kindOf(media.schema)).join(", "), answer.description))));
  const head = make("summary", "", make("span.method", method), make("code", path), make("span.told", about.summary));
  const whole = make("details", "", head, body);
  whole.dataset.words = `${method} ${path} ${about.summary}`.toLowerCase();
  return whole;
};

const show = (api) => {
  const main = document.getElementById("main");
  document.getElementById("version").textContent = api.info.version;
  main.replaceChildren(make("p.about", api.info.description));
  const rooms = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const room = about.tags[0];
      if (!rooms.has(room)) rooms.set(room, make("section", "", make("h2", room)));
      rooms.get(room).append(operation(path, method, about));
    }
  }
  main.append(...rooms.values());
  const shapes = make("section", "", make("h2", "Shapes"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    const whole = make("details", "", make("summary", "", make("code", name)), make("div", "", make("p.about", schema.description || ""), fields(schema)));
    whole.id = name;
    whole.dataset.words = name.toLowerCase();
    shapes.append(whole);
  }
  main.append(shapes);
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const one of main.querySelectorAll("details")) one.hidden = !one.dataset.words.includes(wanted);
    for (const room of main.querySelectorAll("section")) room.hidden = !room.querySelector("details:not([hidden])");
  });
};

fetch("openapi.json").then((answer) => answer.json()).then(show, (trouble) => {
  document.getElementById("main").replaceChildren(make("p", `The description cannot be read: ${trouble}`));
});

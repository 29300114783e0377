// Lists the routes of /openapi.json; every text is a text node.

const METHODS = ["get", "put", "post", "patch", "delete"];

/** Make an element with children: elements or texts. */
function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** Write a schema as the type of a value, such as {id: string, rows?: integer[]}; named schemas are opened once. */
function typeOf(schema, schemas, open = []) {
  if (!schema || Object.keys(schema).length === 0) return "anything";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return open.includes(name) ? name : typeOf(schemas[name], schemas, [...open, name]);
  }
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const many of ["anyOf", "oneOf", "allOf"]) {
    if (schema[many]) return schema[many].map((each) => typeOf(each, schemas, open)).join(" | ");
  }
  if (schema.type === "array") return `[${typeOf(schema.items, schemas, open)}, ...]`;
  if (schema.properties) {
    const required = schema.required ?? [];
    const fields = Object.entries(schema.properties).map(([name, value]) => {
      const type = typeOf(value, schemas, open).replaceAll("\n", "\n  ");
      return `  ${name}${required.includes(name) ? "" : "?"}: ${type}`;
    });
    return `{\n${fields.join(",\n")}\n}`;
  }
  if (schema.additionalProperties) return `{NAME: ${typeOf(schema.additionalProperties, schemas, open)}}`;
  return schema.format ?? schema.type ?? "anything";
}

function parameters(route, schemas) {
  if (!route.parameters?.length) return [];
  const rows = route.parameters.map((each) => {
    const given = each.schema?.default === undefined ? "" : `, default ${JSON.stringify(each.schema.default)}`;
    const about = `${each.in}${each.required ? ", required" : ""}${given}`;
    const type = element("td", element("code", typeOf(each.schema, schemas)));
    return element("tr", element("td", element("code", each.name)), type, element("td", about),
      element("td", each.description ?? ""));
  });
  const head = element("tr", ...["parameter", "type", "where", "meaning"].map((text) => element("th", text)));
  return [element("table", element("thead", head), element("tbody", ...rows))];
}

function body(title, content, schemas) {
  return Object.entries(content ?? {}).flatMap(([media, { schema }]) => [
    element("p", `${title} (${media})`), element("pre", element("code", typeOf(schema, schemas))),
  ]);
}

function details(method, path, route, schemas) {
  const about = (route.description ?? route.summary ?? "").split("\n")[0];
  const answer = Object.entries(route.responses ?? {}).find(([status]) => status.startsWith("2"))?.[1];
  const made = element("details",
    element("summary", element("b", method.toUpperCase()), element("code", path), ` ${about}`),
    ...parameters(route, schemas),
    ...body("Body", route.requestBody?.content, schemas),
    ...body("Answer", answer?.content, schemas));
  made.dataset.words = `${method} ${path} ${about}`.toLowerCase();
  return made;
}

async function show() {
  document.getElementById("base").textContent = `${location.origin}/v1`;
  const state = document.getElementById("state");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    state.textContent = "The description could not be loaded. Open the page of papertune first.";
    return;
  }
  const description = await answer.json();
  const schemas = description.components?.schemas ?? {};
  const sections = new Map();
  for (const [path, routes] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((each) => routes[each])) {
      const tag = routes[method].tags?.[0] ?? "other";
      if (!sections.has(tag)) sections.set(tag, element("section", element("h2", tag)));
      sections.get(tag).append(details(method, path, routes[method], schemas));
    }
  }
  document.getElementById("routes").append(...sections.values());
  const all = [...document.querySelectorAll("details")];
  state.textContent = `${all.length} routes`;
  document.getElementById("find").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const each of all) each.hidden = !words.every((word) => each.dataset.words.includes(word));
    const shown = all.filter((each) => !each.hidden).length;
    state.textContent = `${shown} of ${all.length} routes`;
    for (const section of sections.values()) section.hidden = !section.querySelector("details:not([hidden])");
  });
}

show();

// Calls the main of a Hookmill script and leaves its result, or its error, in a file.
// Started in the job's folder with the script's file as its argument. Plain JavaScript, so that
// nothing has to be compiled; what the script could change is taken before the script is loaded.

const { parse, stringify } = JSON;
const { isArray } = Array;
const { hasOwn, fromEntries, entries, defineProperty } = Object;
const { readTextFileSync, writeTextFileSync, renameSync, exit, cwd } = Deno;
const here = cwd() + "/";
const self = import.meta.url;

addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  fail(event.reason);
});
addEventListener("error", (event) => {
  event.preventDefault();
  fail(event.error);
});

try {
  save("result.json", encode(await call()));
} catch (error) {
  fail(error);
}
// what the script left running, timers and open sockets, ends with it
exit(0);

async function call() {
  const parameters = parse(readTextFileSync(here + "parameters.json"));
  const { main } = await import("file://" + here.split("/").map(encodeURIComponent).join("/") + Deno.args[0]);
  if (typeof main !== "function") {
    throw new Error("main function is missing: the script exports no `main`");
  }
  if (parameters === null) {
    throw new Error("the parameters of `main` cannot be read: declare it as a function or an arrow function");
  }
  return await collected(await main(...bind(parameters, readArgs(parameters))));
}

// arguments

function readArgs(parameters) {
  const exact = new Set(parameters.filter((p) => p.type === "bigint").map((p) => p.name));
  const text = readTextFileSync(here + "args.json");
  if (exact.size === 0) {
    return parse(text);
  }
  const digits = [];
  const args = parse(text, function (key, value, context) {
    if (exact.has(key) && typeof value === "number") {
      digits.push([this, key, context.source]);
    }
    return value;
  });
  for (const [holder, key, source] of digits) {
    if (holder === args && /^-?\d+$/.test(source)) {
      args[key] = BigInt(source);
    }
  }
  return args;
}

function bind(parameters, args) {
  const named = new Set(parameters.map((p) => p.name));
  const values = [];
  parameters.forEach((parameter, index) => {
    const { kind, name } = parameter;
    const value = name !== undefined && hasOwn(args, name) ? args[name] : undefined;
    if (kind === "object") {
      const others = entries(args).filter(([key]) => !named.has(key));
      // nothing for it: its own default, if it has one
      values.push(others.length === 0 && parameter.default ? undefined : fromEntries(others));
    } else if (kind === "rest") {
      values.push(...(isArray(value) ? value : value === undefined ? [] : [value]));
    } else if (kind === "array") {
      values.push(hasOwn(args, "anon" + index) ? args["anon" + index] : undefined);
    } else {
      values.push(convert(value, parameter));
    }
  });
  return values;
}

function convert(value, { type }) {
  if (type === "date" && typeof value === "string") {
    return new Date(value);
  }
  if (type === "bigint" && typeof value === "string" && /^-?\d+$/.test(value)) {
    return BigInt(value);
  }
  return value;
}

// results

async function collected(result) {
  const iterates = result !== null && typeof result === "object" &&
    (typeof result[Symbol.asyncIterator] === "function" ||
      (typeof result[Symbol.iterator] === "function" && typeof result.next === "function"));
  if (!iterates) {
    return result;
  }
  const items = [];
  for await (const item of result) {
    items.push(item);
  }
  return items;
}

function encode(value) {
  const text = stringify(value, plain) ?? "null";
  // JSON.stringify escapes only lone surrogates so; as text they are U+FFFD
  return text.includes("\\ud") ? text.replace(/\\(?:u(d[89a-f][0-9a-f]{2})|[^])/g, lone) : text;
}

function lone(whole, surrogate) {
  return surrogate === undefined ? whole : "\ufffd";
}

function plain(_key, value) {
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  if (value instanceof Map) {
    const pairs = [...value];
    return pairs.every(([key]) => typeof key === "string") ? fromEntries(pairs) : pairs;
  }
  if (value instanceof Set) {
    return [...value];
  }
  if (value instanceof Error) {
    return { name: value.name, message: value.message, ...value };
  }
  if (value instanceof Uint8Array) {
    return value.toBase64();
  }
  return value;
}

// errors

function fail(error) {
  try {
    save("error.json", encode(describe(error)));
  } catch {
    // the exit code says it
  }
  exit(1);
}

function describe(error) {
  if (!(error instanceof Error)) {
    const message = typeof error === "string" ? error : stringify(error, plain) ?? String(error);
    return { name: "Error", message: message.slice(0, 100_000) };
  }
  const stack = String(error.stack ?? "").split("\n").filter((line) => !foreign(line)).join("\n");
  return { name: String(error.name), message: shown(String(error.message)), stack: shown(stack) };
}

// Without the throw-away folder's name; the job shows 64 KiB.
function shown(text) {
  return text.replaceAll("file://" + here, "").replaceAll(here, "").slice(0, 100_000);
}

function foreign(line) {
  return line.includes(self) || /^\s+at .*\(?ext:/.test(line);
}

// Whole or not at all: the worker takes the file's being there as main's having returned.
function save(name, text) {
  writeTextFileSync(here + name + ".new", text);
  renameSync(here + name + ".new", here + name);
}

// What node's test runner saw, one JSON object a line: `node --test --test-reporter=<this file> --test-reporter-destination=FILE`.
//
// kinds: start and result (name, nesting, file, line; of a result also passed, skip, todo, suite, error), stderr (file, text), end.
// It runs in the runner's own process, outside the tree. Node 20 and newer.

const MOST = 8000;

function text(value) {
  try {
    return String(value).slice(0, MOST);
  } catch {
    return "";
  }
}

function told(error) {
  if (!error) return null;
  const cause = error.cause;
  const isError = cause !== null && typeof cause === "object";
  return {
    type: text(error.failureType ?? ""),
    name: isError ? text(cause.name ?? "") : "",
    message: text(isError ? (cause.message ?? cause) : (cause ?? error.message)),
    stack: isError ? text(cause.stack ?? "") : "",
  };
}

export default async function* report(source) {
  for await (const { type, data } of source) {
    const place = data && { name: text(data.name ?? ""), nesting: data.nesting ?? 0, file: data.file ?? "", line: data.line ?? 0 };
    if (type === "test:start") {
      yield JSON.stringify({ kind: "start", ...place }) + "\n";
    } else if (type === "test:pass" || type === "test:fail") {
      const details = data.details ?? {};
      yield JSON.stringify({
        kind: "result", ...place, passed: type === "test:pass", suite: details.type === "suite",
        skip: data.skip !== undefined && data.skip !== false, todo: data.todo !== undefined && data.todo !== false,
        error: told(details.error),
      }) + "\n";
    } else if (type === "test:stderr") {
      yield JSON.stringify({ kind: "stderr", file: data.file ?? "", text: text(data.message) }) + "\n";
    }
  }
  yield JSON.stringify({ kind: "end" }) + "\n";
}

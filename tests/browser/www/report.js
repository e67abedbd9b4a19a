// Events for the driver, and parameters of the page's address.
const parameters = new URLSearchParams(location.search);

export function report(kind, text) {
  // In order, also while the page goes away.
  const request = new XMLHttpRequest();
  request.open("POST", "/event", false);
  request.send(JSON.stringify({ kind, text }));
}

export function parameter(name) {
  return parameters.get(name) ?? undefined;
}

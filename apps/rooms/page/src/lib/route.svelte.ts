// What the address after # names: `#/room/<id>`, `#/room/<id>/<message>`, `#/join/<code>`, or nothing.

export type Route =
  | { view: "home" }
  | { view: "room"; id: string; message: number | null }
  | { view: "join"; code: string }

export function parse(hash: string): Route {
  const [view, id, message] = parts(hash)
  if (view === "room" && id) return { view, id, message: Number(message) || null }
  if (view === "join" && id) return { view, code: id }
  return { view: "home" }
}

function parts(hash: string): string[] {
  try {
    return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent)
  } catch {
    return [] // a % that no page has written
  }
}

export const roomHref = (id: string, message?: number) =>
  `#/room/${encodeURIComponent(id)}${message ? `/${message}` : ""}`

class Router {
  route = $state.raw<Route>(parse(location.hash))

  constructor() {
    addEventListener("hashchange", () => { this.route = parse(location.hash) })
  }

  go(href: string) {
    if (location.hash === href) this.route = parse(href)
    else location.hash = href
  }

  /** Like `go`, but the way back skips where the page was. */
  replace(href: string) {
    history.replaceState(null, "", href)
    this.route = parse(href)
  }
}

export const router = new Router()

// The server's HTTP interface (PROTOCOL.md, "HTTP").

import type { Picture, User } from "./shapes"

/** An answer that is an error. `code` is the server's, or `unreachable` if there was no answer. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string) {
    super(code)
  }
}

/** How long an answer may take. A request that was sent before the machine slept may never get one. */
const PATIENCE_MS = 15_000

async function request<T>(method: "GET" | "POST", path: string, body?: object): Promise<T> {
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS)
  const response = await fetch(path, {
    method,
    headers: method === "POST" ? { "content-type": "application/json" } : {},
    body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
    signal: patience.signal,
  }).catch(() => { throw new ApiError(0, "unreachable") })
    .finally(() => clearTimeout(timer))
  if (!response.ok) throw new ApiError(response.status, code(await response.text()))
  return response.status === 204 ? undefined as T : response.json()
}

function code(text: string): string {
  try {
    return JSON.parse(text).error ?? "unavailable"
  } catch {
    return "unavailable" // a proxy's page
  }
}

export const signUp = (name: string, password: string) => request<{ user: User }>("POST", "/api/sign-up", { name, password })
export const login = (name: string, password: string) => request<{ user: User }>("POST", "/api/login", { name, password })
export const logout = () => request<void>("POST", "/api/logout")
/** Both are null if nobody is logged in. */
export const session = () => request<{ user: User; token: string } | { user: null; token: null }>("GET", "/api/session")

export interface Upload {
  picture: Promise<Picture>
  cancel(): void
}

/** Uploads a picture. `onProgress` is given the part that was sent, 0 to 1, which `fetch` cannot tell. */
export function upload(file: Blob, onProgress: (part: number) => void): Upload {
  const xhr = new XMLHttpRequest()
  const picture = new Promise<Picture>((resolve, reject) => {
    xhr.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0)
    xhr.onload = () => {
      if (xhr.status === 201) resolve(JSON.parse(xhr.responseText).picture)
      else reject(new ApiError(xhr.status, code(xhr.responseText)))
    }
    xhr.onerror = () => reject(new ApiError(0, "unreachable"))
    xhr.onabort = () => reject(new ApiError(0, "canceled"))
  })
  xhr.open("POST", "/api/pictures")
  xhr.setRequestHeader("content-type", file.type)
  xhr.send(file)
  return { picture, cancel: () => xhr.abort() }
}

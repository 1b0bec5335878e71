// The server's HTTP interface (PROTOCOL.md, "HTTP").

import { PICTURE_LIMIT, type Picture, type User } from "./shapes"

/** An answer that is an error. `code` is the server's, or `unreachable` if there was no answer. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string) {
    super(code)
  }
}

async function request<T>(method: "GET" | "POST", path: string, body?: object): Promise<T> {
  const response = await fetch(path, {
    method,
    headers: method === "POST" ? { "content-type": "application/json" } : {},
    body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
  }).catch(() => { throw new ApiError(0, "unreachable") })
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
export const session = () => request<{ user: User; token: string }>("GET", "/api/session")

export interface Upload {
  picture: Promise<Picture>
  cancel(): void
}

/** Uploads a picture. `onProgress` is given the part that was sent, 0 to 1, which `fetch` cannot tell. */
export function upload(file: Blob, onProgress: (part: number) => void): Upload {
  const xhr = new XMLHttpRequest()
  const picture = new Promise<Picture>((resolve, reject) => {
    if (file.size > PICTURE_LIMIT) return reject(new ApiError(413, "too_large"))
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
  if (file.size <= PICTURE_LIMIT) xhr.send(file)
  return { picture, cancel: () => xhr.abort() }
}

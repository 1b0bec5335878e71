// Who is logged in, and the token of the socket, which is renewed before it expires.

import * as api from "../api"
import type { User } from "../shapes"

/** A token is valid for ten minutes. */
const RENEW_MS = 8 * 60_000

export type Ending = "none" | "ended" | "removed"

const isRemoval = (error: unknown) => error instanceof api.ApiError && error.code === "removed"

class Session {
  user = $state.raw<User | null>(null)
  isLoading = $state(true)
  /** Why the login is shown. */
  ending = $state<Ending>("none")
  token = ""
  #timer: ReturnType<typeof setInterval> | undefined
  #renewing = false
  /** The other tabs of this browser, which have the same cookie. */
  #tabs = new BroadcastChannel("rooms:session")

  constructor() {
    this.#tabs.onmessage = ({ data }: MessageEvent<"login" | "logout">) => {
      if (data === "logout") this.end("ended")
      else if (this.user) this.renew()
      else this.start().catch(() => {}) // the login is still there
    }
  }

  async start() {
    try {
      const { user, token } = await api.session()
      if (user && !this.user) this.#begin(user, token)
    } catch (error) {
      if (!isRemoval(error)) throw error
      this.ending = "removed"
    } finally {
      this.isLoading = false
    }
  }

  signUp = async (name: string, password: string) => this.#enter(api.signUp(name, password))

  login = async (name: string, password: string) => this.#enter(api.login(name, password))

  async logout() {
    await api.logout()
    this.#tabs.postMessage("logout")
    this.end("none")
  }

  /** Gets a new token. If there is no session any more, it ends here too. */
  renew = async () => {
    if (this.#renewing || !this.user) return
    this.#renewing = true
    try {
      const { user, token } = await api.session()
      if (!this.user) return
      if (!user) this.end("ended")
      else if (user.id === this.user.id) this.token = token
      else location.reload() // another tab has logged in as somebody else
    } catch (error) {
      // after any other error, the next try to connect asks again
      if (isRemoval(error)) this.end("removed")
    } finally {
      this.#renewing = false
    }
  }

  end(ending: Ending) {
    if (!this.user) return
    clearInterval(this.#timer)
    this.user = null
    this.token = ""
    this.ending = ending
  }

  async #enter(entering: Promise<unknown>) {
    await entering
    await this.start()
    if (!this.user) throw new api.ApiError(401, "not_logged_in")
    this.#tabs.postMessage("login")
  }

  #begin(user: User, token: string) {
    this.user = user
    this.token = token
    this.ending = "none"
    this.#timer = setInterval(this.renew, RENEW_MS)
  }
}

export const session = new Session()

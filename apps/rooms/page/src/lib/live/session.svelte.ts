// Who is logged in, and the token of the socket, which is renewed before it expires.

import * as api from "../api"
import type { User } from "../shapes"

/** A token is valid for ten minutes. */
const RENEW_MS = 8 * 60_000

export type Ending = "none" | "ended" | "removed"

class Session {
  user = $state.raw<User | null>(null)
  isLoading = $state(true)
  /** Why the login is shown. */
  ending = $state<Ending>("none")
  token = ""
  #timer: ReturnType<typeof setInterval> | undefined
  #renewing = false

  async start() {
    try {
      this.#begin(await api.session())
    } catch (error) {
      if (!(error instanceof api.ApiError) || error.status !== 401) throw error
    } finally {
      this.isLoading = false
    }
  }

  signUp = async (name: string, password: string) => this.#enter(api.signUp(name, password))

  login = async (name: string, password: string) => this.#enter(api.login(name, password))

  async logout() {
    await api.logout()
    this.end("none")
  }

  /** Gets a new token. If there is no session any more, it ends here too. */
  renew = async () => {
    if (this.#renewing || !this.user) return
    this.#renewing = true
    try {
      const { user, token } = await api.session()
      if (user.id !== this.user.id) return location.reload() // another tab has logged in as somebody else
      this.token = token
    } catch (error) {
      if (error instanceof api.ApiError && error.status === 401) this.end("ended")
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
    this.#begin(await api.session())
  }

  #begin({ user, token }: { user: User; token: string }) {
    this.user = user
    this.token = token
    this.ending = "none"
    this.#timer = setInterval(this.renew, RENEW_MS)
  }
}

export const session = new Session()

// The channel `team`: who there is and who is online.

import { Presence, type Channel } from "phoenix"
import { SvelteMap } from "svelte/reactivity"
import type { Status, User } from "../shapes"
import { watchActivity } from "./activity"
import { ask } from "./ask"
import type { Connection } from "./connection.svelte"

interface Meta {
  status: Status
  device: "desktop" | "phone"
}

export interface Presences {
  status: Status
  /** Whether every device of the user is a phone. */
  isOnPhone: boolean
}

export class Team {
  users = new SvelteMap<string, User>()
  present = $state.raw(new Map<string, Presences>())
  #channel: Channel
  #status: Status = "online"
  #stopWatching: () => void

  constructor(connection: Connection, onChanged: (user: User) => void) {
    const device = matchMedia("(pointer: coarse) and (max-width: 720px)").matches ? "phone" : "desktop"
    this.#channel = connection.channel("team", { device })
    this.#channel.on("user", ({ user }) => {
      this.users.set(user.id, user)
      onChanged(user)
    })
    const presence = new Presence(this.#channel)
    presence.onSync(() => {
      this.present = new Map(presence.list((id, { metas }) => [id, summary(metas)] as const))
    })
    this.#stopWatching = watchActivity(status => {
      this.#status = status
      this.#tell()
    })
    this.#channel.join().receive("ok", ({ users }: { users: User[] }) => {
      for (const user of users) this.users.set(user.id, user)
      if (this.#status !== "online") this.#tell()
    })
  }

  name(id: string): string {
    return this.users.get(id)?.name ?? "…"
  }

  /** Those who can be talked to, by name. */
  get people(): User[] {
    return [...this.users.values()].filter(user => !user.removed).sort((a, b) => a.name.localeCompare(b.name))
  }

  remove(user_id: string) {
    return ask(this.#channel, "remove_user", { user_id })
  }

  end() {
    this.#stopWatching()
  }

  #tell() {
    // if the connection is lost meanwhile, the next join tells it
    ask(this.#channel, "status", { status: this.#status }).catch(() => {})
  }
}

function summary(metas: Meta[]): Presences {
  return {
    status: metas.some(({ status }) => status === "online") ? "online" : "away",
    isOnPhone: metas.every(({ device }) => device === "phone"),
  }
}

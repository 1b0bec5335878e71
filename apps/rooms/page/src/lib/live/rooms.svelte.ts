// The channel `user:<own id>`: the rooms of this user, what is unread in them, and search.

import type { Channel } from "phoenix"
import { SvelteMap } from "svelte/reactivity"
import type { Hit, PublicRoom, Room } from "../shapes"
import { ask } from "./ask"
import type { Connection } from "./connection.svelte"
import { Latest } from "./latest"

type Unread = Pick<Room, "unread" | "mentions" | "last_id"> & { room_id: string }

export class Rooms {
  all = new SvelteMap<string, Room>()
  /** Whether the first join was answered. */
  isLoaded = $state(false)
  #channel: Channel
  #reads = new Map<string, Latest<number>>()

  constructor(connection: Connection, userId: string, private onLeft: (roomId: string) => void) {
    this.#channel = connection.channel(`user:${userId}`)
    this.#channel.on("room", ({ room }) => this.#put(room))
    this.#channel.on("room_left", ({ room_id }) => this.#drop(room_id))
    this.#channel.on("unread", (unread: Unread) => this.#setUnread(unread))
    this.#channel.join().receive("ok", ({ rooms }: { rooms: Room[] }) => {
      this.#replace(rooms)
      this.isLoaded = true
      for (const read of this.#reads.values()) read.send()
    })
  }

  /** Public and private rooms, by name. */
  get named(): Room[] {
    return [...this.all.values()].filter(room => room.kind !== "direct").sort((a, b) => a.name.localeCompare(b.name))
  }

  /** Direct rooms, the newest conversation first. */
  get direct(): Room[] {
    return [...this.all.values()].filter(room => room.kind === "direct").sort((a, b) => b.last_id - a.last_id)
  }

  /** How much is addressed to this user: mentions, and unread direct messages. */
  get calls(): number {
    return [...this.all.values()].reduce((sum, room) => sum + (room.kind === "direct" ? room.unread : room.mentions), 0)
  }

  browse = () => ask<{ rooms: PublicRoom[] }>(this.#channel, "browse")
  create = (name: string, isPrivate: boolean) => this.#entering("create_room", { name, private: isPrivate })
  join = (room_id: string) => this.#entering("join_room", { room_id })
  openDirect = (user_id: string) => this.#entering("open_direct", { user_id })
  accept = (code: string) => this.#entering("accept", { code })
  leave = (room_id: string) => ask(this.#channel, "leave_room", { room_id })
  invite = (room_id: string, user_id: string) => ask(this.#channel, "invite", { room_id, user_id })
  removeMember = (room_id: string, user_id: string) => ask(this.#channel, "remove_member", { room_id, user_id })
  invitation = (room_id: string) => ask<{ code: string; expires_at: string }>(this.#channel, "invitation", { room_id })

  search(text: string, room_id?: string, before?: number) {
    return ask<{ hits: Hit[]; more: boolean }>(this.#channel, "search", { text, room_id, before })
  }

  /** Asks for all rooms anew. If the connection is lost, the next join brings them. */
  async refresh() {
    if (!this.isLoaded) return
    await ask<{ rooms: Room[] }>(this.#channel, "rooms").then(({ rooms }) => this.#replace(rooms), () => {})
  }

  /** Everything up to message `id` was read. */
  read(roomId: string, id: number) {
    const room = this.all.get(roomId)
    if (!room || id <= room.last_read) return
    const isAll = id >= room.last_id
    this.all.set(roomId, { ...room, last_read: id, ...(isAll && { unread: 0, mentions: 0 }) })
    let read = this.#reads.get(roomId)
    if (!read) {
      read = new Latest(id => ask(this.#channel, "read", { room_id: roomId, id }))
      this.#reads.set(roomId, read)
    }
    read.set(id)
  }

  async #entering(event: string, payload: object): Promise<Room> {
    const { room } = await ask<{ room: Room }>(this.#channel, event, payload)
    this.#put(room)
    return room
  }

  #replace(rooms: Room[]) {
    const ids = new Set(rooms.map(({ id }) => id))
    for (const id of [...this.all.keys()]) if (!ids.has(id)) this.#drop(id)
    for (const room of rooms) this.#put(room)
  }

  #drop(id: string) {
    this.all.delete(id)
    this.onLeft(id)
  }

  #put(room: Room) {
    const last_read = Math.max(room.last_read, this.all.get(room.id)?.last_read ?? 0)
    this.all.set(room.id, { ...room, last_read })
  }

  #setUnread({ room_id, ...unread }: Unread) {
    const room = this.all.get(room_id)
    if (!room) return
    // read here, and the server does not know yet
    const isRead = unread.last_id <= room.last_read
    this.all.set(room_id, { ...room, ...unread, ...(isRead && { unread: 0, mentions: 0 }) })
  }
}

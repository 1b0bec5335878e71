// Everything of one login: the connection, its channels, and which rooms are joined.

import type { Message, Room, User } from "../shapes"
import { watchReturns } from "./activity"
import { Connection } from "./connection.svelte"
import { Conversation } from "./conversation.svelte"
import { Outbox } from "./outbox.svelte"
import { Rooms } from "./rooms.svelte"
import { session } from "./session.svelte"
import { Team } from "./team.svelte"

export class Chat {
  connection: Connection
  team: Team
  rooms: Rooms
  outbox: Outbox
  /** The newest message of somebody else in the open room, for screen readers. */
  news = $state.raw<Message | null>(null)
  #conversations = new Map<string, Conversation>()
  #openId: string | null = null
  #stopWatching: () => void

  constructor(readonly me: User) {
    this.connection = new Connection(() => session.token, session.renew)
    this.outbox = new Outbox(me.id, localStorage)
    this.team = new Team(this.connection, user => {
      if (user.id === me.id && user.removed) session.end("removed")
    })
    this.rooms = new Rooms(this.connection, me.id, roomId => this.#forget(roomId))
    for (const roomId of new Set(this.outbox.items.map(({ room_id }) => room_id))) this.conversation(roomId).join()
    addEventListener("storage", this.#onStorage)
    this.#stopWatching = watchReturns(this.#refresh)
  }

  conversation(roomId: string): Conversation {
    let conversation = this.#conversations.get(roomId)
    if (!conversation) {
      conversation = new Conversation(roomId, this.connection, this.outbox, message => {
        if (roomId === this.#openId && message.author !== this.me.id) this.news = message
      })
      this.#conversations.set(roomId, conversation)
    }
    return conversation
  }

  /** Joins the room that is shown, and leaves those that are not and have nothing to send. */
  open(roomId: string | null) {
    this.#openId = roomId
    for (const [id, conversation] of this.#conversations) {
      if (id !== roomId && !this.outbox.of(id).length) conversation.leave()
    }
    if (roomId) this.conversation(roomId).join()
  }

  /** What a room is called: a direct one by the other members. */
  title(roomId: string): string {
    const room = this.rooms.all.get(roomId)
    if (!room) return "…"
    if (room.kind !== "direct") return room.name
    const others = room.members.filter(id => id !== this.me.id)
    return (others.length ? others : [this.me.id]).map(id => this.team.name(id)).join(", ")
  }

  /** The other member of a direct room; none of another room. */
  other(room: Room): User | undefined {
    return room.kind === "direct" ? this.team.users.get(room.members.find(id => id !== this.me.id) ?? this.me.id) : undefined
  }

  get isAdmin(): boolean {
    return this.team.users.get(this.me.id)?.admin ?? this.me.admin
  }

  end() {
    removeEventListener("storage", this.#onStorage)
    this.#stopWatching()
    this.team.end()
    this.connection.end()
  }

  #forget(roomId: string) {
    this.#conversations.get(roomId)?.leave()
    this.#conversations.delete(roomId)
  }

  /** Between the server's nodes a broadcast may be lost: whoever comes back sees what it would have told. */
  #refresh = () => {
    this.rooms.refresh()
    if (this.#openId) this.conversation(this.#openId).catchUp()
  }

  #onStorage = ({ key }: StorageEvent) => this.outbox.changedElsewhere(key)
}

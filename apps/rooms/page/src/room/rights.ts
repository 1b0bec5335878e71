// What a user may do with a message. The server decides; this only hides what it would refuse.

import type { Chat } from "../lib/live/chat.svelte"
import type { Message, Room } from "../lib/shapes"

export const mayEdit = (chat: Chat, { author, deleted }: Message) => author === chat.me.id && !deleted

/** In a direct room whose other member was removed, nobody would read it. */
export const mayPost = (chat: Chat, room: Room) => !chat.other(room)?.removed

export const mayDelete = (chat: Chat, room: Room, { author, deleted }: Message) =>
  !deleted && (author === chat.me.id || (room.kind !== "direct" && room.owner === chat.me.id) || chat.isAdmin)

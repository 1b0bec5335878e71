// The shapes of ../../PROTOCOL.md.

export interface User {
  id: string
  name: string
  admin: boolean
  removed: boolean
}

export interface Room {
  id: string
  /** Empty for a direct room: its members name it. */
  name: string
  kind: "public" | "private" | "direct"
  owner: string
  members: string[]
  last_id: number
  last_read: number
  unread: number
  mentions: number
}

export interface PublicRoom {
  id: string
  name: string
  members: number
}

export interface Picture {
  id: string
  width: number
  height: number
}

export interface Quote {
  id: number
  author: string
  /** The first 140 characters; null if the message was deleted. */
  text: string | null
}

export interface Reaction {
  emoji: string
  users: string[]
}

export interface Message {
  id: number
  author: string
  text: string | null
  at: string
  edited_at: string | null
  deleted: boolean
  reply_to: Quote | null
  picture: Picture | null
  reactions: Reaction[]
  nonce: string | null
}

/** A message as it is at a position in its room's changes. */
export interface Change {
  id: number
  message: Message
}

/** Messages in ascending order; `more` says whether older ones exist. */
export interface Page {
  messages: Message[]
  more: boolean
}

export interface Hit {
  room_id: string
  message: Message
}

export type Status = "online" | "away"

export const MESSAGE_LIMIT = 8000
export const QUOTE_LIMIT = 140
/** Bytes of a picture. */
export const PICTURE_LIMIT = 5 << 20

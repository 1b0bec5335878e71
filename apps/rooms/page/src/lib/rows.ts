// What a list of messages shows: days, the line before what is new, and messages grouped by author.

import type { Message } from "./shapes"
import { dayKey } from "./text/dates"

const GROUP_MS = 5 * 60_000

export type Row =
  | { kind: "day"; key: string; at: string }
  | { kind: "new"; key: string }
  | { kind: "message"; key: number; message: Message; isFirst: boolean }

/** `readUntil` is the last message that was read when the room was opened; the line is before the next one of another user. */
export function rows(messages: Message[], readUntil: number, me: string): Row[] {
  const firstNew = messages.find(({ id, author }) => id > readUntil && author !== me)
  const rows: Row[] = []
  let previous: Message | null = null
  for (const message of messages) {
    if (!previous || dayKey(previous.at) !== dayKey(message.at)) {
      rows.push({ kind: "day", key: `day ${dayKey(message.at)} ${message.id}`, at: message.at })
      previous = null
    }
    if (message === firstNew) {
      rows.push({ kind: "new", key: "new" })
      previous = null
    }
    rows.push({ kind: "message", key: message.id, message, isFirst: !continues(previous, message) })
    previous = message
  }
  return rows
}

function continues(previous: Message | null, message: Message): boolean {
  return previous !== null
    && previous.author === message.author
    && !message.reply_to
    && Date.parse(message.at) - Date.parse(previous.at) < GROUP_MS
}

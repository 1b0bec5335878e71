// A part of a room's messages without a gap, ascending by id. Functions return new segments; none changes its arguments.

import { QUOTE_LIMIT, type Message, type Page, type Quote } from "../shapes"

/** `more` says whether messages before the first exist. */
export type Segment = Page

/** The segment with a message as it is now, and quotes of it too. `isNewest` says whether the segment ends with the newest message. */
export function changed(segment: Segment, message: Message, isNewest: boolean): Segment {
  const { more } = segment
  const messages = segment.messages.map(old => (old.id === message.id ? message : requoted(old, message)))
  if (messages.some(({ id }) => id === message.id)) return { messages, more }
  const first = messages[0]?.id ?? Infinity
  const last = messages.at(-1)?.id ?? -Infinity
  const belongs = message.id > last ? isNewest : message.id > first || !more
  if (!belongs) return { messages, more }
  return { messages: [...messages, message].sort((a, b) => a.id - b.id), more }
}

function requoted(message: Message, quoted: Message): Message {
  if (message.reply_to?.id !== quoted.id) return message
  return { ...message, reply_to: quote(quoted) }
}

/** A message as replies to it show it. */
export function quote({ id, author, text }: Message): Quote {
  return { id, author, text: text === null ? null : Array.from(text).slice(0, QUOTE_LIMIT).join("") }
}

/** The two as one, if they overlap; else null. A message in both is taken from `newer`. */
export function joined(older: Segment, newer: Segment): Segment | null {
  const first = newer.messages[0]?.id
  const last = older.messages.at(-1)?.id
  if (first === undefined || last === undefined || last < first) return null
  const kept = older.messages.filter(({ id }) => id < first)
  return { messages: [...kept, ...newer.messages], more: kept.length ? older.more : newer.more }
}

/** The segment with the page before it. */
export function preceded(segment: Segment, page: Page): Segment {
  const first = segment.messages[0]?.id ?? Infinity
  return { messages: [...page.messages.filter(({ id }) => id < first), ...segment.messages], more: page.more }
}

/** Without its oldest messages if there are more than `limit`. */
export function trimmed(segment: Segment, limit: number): Segment {
  if (segment.messages.length <= limit) return segment
  return { messages: segment.messages.slice(-limit), more: true }
}

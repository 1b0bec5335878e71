// Times as a reader of the page's language expects them.

import type { Words } from "./en"

const formats = new Map<string, Intl.DateTimeFormat>()

/** Formats are slow to make, so each is made once. */
function format(language: string, name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${language} ${name}`
  let made = formats.get(key)
  if (!made) formats.set(key, made = new Intl.DateTimeFormat(language, options))
  return made
}

export const time = (at: string, language: string) =>
  format(language, "time", { hour: "numeric", minute: "2-digit" }).format(new Date(at))

/** Without AM or PM, where there is little room. */
export const clock = (at: string, language: string) =>
  format(language, "clock", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(new Date(at))

export const full = (at: string, language: string) =>
  format(language, "full", { dateStyle: "full", timeStyle: "short" }).format(new Date(at))

export const short = (at: string, language: string) =>
  format(language, "short", { dateStyle: "medium", timeStyle: "short" }).format(new Date(at))

/** Names a day, so that two times of the same day have the same. */
export const dayKey = (at: string) => new Date(at).toDateString()

export function day(at: string, language: string, words: Words, now = new Date()): string {
  const date = new Date(at)
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1)
  if (date.toDateString() === now.toDateString()) return words.today
  if (date.toDateString() === yesterday.toDateString()) return words.yesterday
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric" as const
  return format(language, `day ${year}`, { weekday: "long", month: "long", day: "numeric", year }).format(date)
}

// Cuts a text into pieces, of which some are hits of a search.

export interface Piece {
  text: string
  isHit: boolean
}

/** How much of a text is shown before the first hit. */
const LEAD = 60

export function highlight(text: string, query: string): Piece[] {
  const words = query.split(/\s+/).map(word => word.replace(/["*]/g, "")).filter(Boolean)
  if (!words.length) return [{ text, isHit: false }]
  const pattern = new RegExp(`(${words.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "giu")
  const first = text.search(pattern)
  const cut = first > LEAD ? `…${text.slice(first - LEAD)}` : text
  return cut.split(pattern).map((text, i) => ({ text, isHit: i % 2 === 1 })).filter(({ text }) => text)
}

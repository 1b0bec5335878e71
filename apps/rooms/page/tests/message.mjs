/** A message as the server sends it. */
export const message = (id, more = {}) => ({
  id, author: "ann", text: `text ${id}`, at: new Date(Date.UTC(2026, 0, 1, 12, id)).toISOString(), edited_at: null, deleted: false,
  reply_to: null, picture: null, reactions: [], nonce: `nonce ${id}`, ...more,
})

export const messages = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => message(first + i))

export const ids = ({ messages }) => messages.map(({ id }) => id)

// A message's Markdown as HTML that is safe to insert: no HTML of its author's, no pictures from elsewhere, links only to http,
// https and mailto.

import MarkdownIt from "markdown-it"

const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true })
  // pictures are uploaded; headings would be headings of the page; tables do not fit a phone
  .disable(["image", "heading", "lheading", "table", "reference"])
markdown.linkify.set({ fuzzyLink: false })
markdown.validateLink = url => /^(https?:|mailto:)/i.test(url.trim())

markdown.renderer.rules.link_open = (tokens, index, options, _, self) => {
  tokens[index]!.attrSet("target", "_blank")
  tokens[index]!.attrSet("rel", "noopener noreferrer nofollow")
  return self.renderToken(tokens, index, options)
}

type Env = {
  /** Finds `@name`; null if there is nobody to mention. */
  mentions: RegExp | null
  mine: string
}

/** `names` are the users that can be mentioned; `mine` is this user's name. */
export function render(text: string, names: string[], mine: string): string {
  const env: Env = { mentions: mentions(names), mine: mine.toLowerCase() }
  return markdown.render(text, env)
}

function mentions(names: string[]): RegExp | null {
  if (!names.length) return null
  const longestFirst = [...names].sort((a, b) => b.length - a.length).map(escapeRegExp)
  return new RegExp(`(?<![\\p{L}\\p{N}])@(${longestFirst.join("|")})(?![\\p{L}\\p{N}])`, "giu")
}

const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

markdown.renderer.rules.text = (tokens, index, _, env) => {
  const { escapeHtml } = markdown.utils
  const { mentions, mine } = env as Env
  const text = tokens[index]!.content
  if (!mentions) return escapeHtml(text)
  let html = ""
  let end = 0
  for (const match of text.matchAll(mentions)) {
    const kind = match[1]!.toLowerCase() === mine ? "mention mine" : "mention"
    html += `${escapeHtml(text.slice(end, match.index))}<span class="${kind}">${escapeHtml(match[0])}</span>`
    end = match.index + match[0].length
  }
  return html + escapeHtml(text.slice(end))
}

/** The text without marks, for quotes and screen readers. */
export function plain(text: string): string {
  const blocks = markdown.parse(text, {}).map(({ content, children }) =>
    children?.map(({ type, content }) => (type.endsWith("break") ? " " : content)).join("") ?? content)
  return blocks.join(" ").replace(/\s+/g, " ").trim()
}

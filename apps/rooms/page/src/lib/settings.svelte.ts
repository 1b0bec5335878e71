// What a reader has chosen in this browser: the theme and the language.

import { en, type Words } from "./text/en"
import { ja } from "./text/ja"

export type Theme = "system" | "light" | "dark"
export type Language = "en" | "ja"

const LANGUAGES: Record<Language, Words> = { en, ja }

const THEMES: Theme[] = ["system", "light", "dark"]

/** What was chosen, if it is one of these. */
function read<T extends string>(key: string, choices: T[]): T | undefined {
  const chosen = localStorage.getItem(`rooms:${key}`)
  return choices.find(choice => choice === chosen)
}

class Settings {
  #theme = $state<Theme>(read("theme", THEMES) ?? "system")
  #language = $state<Language>(
    read("language", Object.keys(LANGUAGES) as Language[]) ?? (navigator.language.startsWith("ja") ? "ja" : "en"))

  constructor() {
    this.#show()
  }

  get theme() { return this.#theme }
  set theme(theme) {
    this.#theme = theme
    localStorage.setItem("rooms:theme", theme)
    this.#show()
  }

  get language() { return this.#language }
  set language(language) {
    this.#language = language
    localStorage.setItem("rooms:language", language)
    this.#show()
  }

  get words(): Words {
    return LANGUAGES[this.#language]
  }

  #show() {
    document.documentElement.dataset.theme = this.#theme
    document.documentElement.lang = this.#language
    document.documentElement.dir = this.words.direction
  }
}

export const settings = new Settings()
